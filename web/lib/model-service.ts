import type {
  AllDownloads, Deletion, EqualFiles, Message, ModelChange, ModelFilter, ModelPage, NewDownload, Scan,
  StartedDownload
} from './api-types.ts'
import { ask, pathOf } from './api.ts'
import { queryOf } from './query.ts'

/** The routes of models and downloads, one function each. */

const path = '/api/v1/models'
const downloadsPath = '/api/v1/downloads'

export const models = {
  list: (query: ModelFilter, signal: AbortSignal) => ask<ModelPage>('GET', `${path}?${queryOf({ ...query, type: query.type || 'all' })}`, { signal }),
  read: async (id: string, signal: AbortSignal) => (await ask<ModelChange>('GET', pathOf(path, id), { signal })).model,
  refresh: (id: string) => ask<Message>('POST', `${pathOf(path, id)}/refresh-metadata?force=true`),
  hash: (id: string) => ask<Message>('POST', `${pathOf(path, id)}/calculate-hash`),
  rescan: (id: string) => ask<Message>('POST', `${pathOf(path, id)}/rescan`),
  remove: (id: string) => ask<Deletion>('DELETE', pathOf(path, id)),
  scan: () => ask<Message>('POST', `${path}/scan`),
  scanStatus: (signal: AbortSignal) => ask<Scan>('GET', `${path}/scan/status`, { signal }),
  stopScan: () => ask<Message>('POST', `${path}/scan/stop`),
  duplicates: (signal: AbortSignal) => ask<EqualFiles>('GET', `${path}/duplicates`, { signal }),
  /** @param expected the most files that the request deletes */
  removeDuplicates: (hashes: readonly string[], expected: number) => ask<Deletion>('POST', `${path}/cleanup-duplicates`, { body: { hashes, expected } })
}

export const downloads = {
  list: async (signal: AbortSignal) => (await ask<AllDownloads>('GET', downloadsPath, { signal })).downloads,
  start: (request: NewDownload) => ask<StartedDownload>('POST', downloadsPath, { body: request }),
  cancel: (id: string) => ask<Message>('DELETE', pathOf(downloadsPath, id)),
  retry: (id: string) => ask<Message>('POST', `${pathOf(downloadsPath, id)}/retry`)
}

/**
 * The model behind a pasted address or id.
 * @param text such as `456`, `https://civitai.com/models/1?modelVersionId=456` or an address at HuggingFace
 * @returns empty if the text is neither
 */
export function downloadOf (text: string) {
  const given = text.trim()
  if (/^\d{1,15}$/.test(given)) return { modelVersionId: given }
  if (given.startsWith('hf:')) return { source: given }
  if (!URL.canParse(given)) return {}
  const { hostname, pathname, searchParams } = new URL(given)
  if (hostname.endsWith('civitai.com')) {
    const [, fromPath] = /^\/api\/download\/models\/(\d+)/.exec(pathname) ?? []
    const modelVersionId = searchParams.get('modelVersionId') ?? fromPath
    return modelVersionId ? { modelVersionId } : {}
  }
  const [, repository, revision, file] = /^\/([^/]+\/[^/]+)\/(?:resolve|blob)\/([^/]+)\/(.+)$/.exec(pathname) ?? []
  return /(^|\.)huggingface\.co$|(^|\.)hf\.co$/.test(hostname) && file !== undefined
    ? { source: `hf:${repository}@${revision}/${decodeURIComponent(file)}` }
    : {}
}
