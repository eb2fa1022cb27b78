import { ask, pathOf } from './api.js'
import { queryOf } from './query.js'

/** The routes of models and downloads, one function each. */

const path = '/api/v1/models'
const downloadsPath = '/api/v1/downloads'

export const models = {
  /** @param {{ type?: string, baseModel?: string, server?: string, search?: string, limit?: number }} query */
  list: (query, signal) => ask('GET', `${path}?${queryOf({ ...query, type: query.type || 'all' })}`, { signal }),
  read: async (id, signal) => (await ask('GET', pathOf(path, id), { signal })).model,
  refresh: id => ask('POST', `${pathOf(path, id)}/refresh-metadata?force=true`),
  hash: id => ask('POST', `${pathOf(path, id)}/calculate-hash`),
  rescan: id => ask('POST', `${pathOf(path, id)}/rescan`),
  remove: id => ask('DELETE', pathOf(path, id)),
  scan: () => ask('POST', `${path}/scan`),
  scanStatus: signal => ask('GET', `${path}/scan/status`, { signal }),
  stopScan: () => ask('POST', `${path}/scan/stop`),
  duplicates: signal => ask('GET', `${path}/duplicates`, { signal }),
  /** @param {number} expected the most files that the request deletes */
  removeDuplicates: (hashes, expected) => ask('POST', `${path}/cleanup-duplicates`, { body: { hashes, expected } })
}

export const downloads = {
  list: async signal => (await ask('GET', downloadsPath, { signal })).downloads,
  /** @param {{ source?: string, modelVersionId?: string, type?: string, filename?: string }} request */
  start: request => ask('POST', downloadsPath, { body: request }),
  cancel: id => ask('DELETE', pathOf(downloadsPath, id)),
  retry: id => ask('POST', `${pathOf(downloadsPath, id)}/retry`)
}

/**
 * The model behind a pasted address or id.
 * @param {string} text such as `456`, `https://civitai.com/models/1?modelVersionId=456` or an address at HuggingFace
 * @returns {{ modelVersionId?: string, source?: string }} empty if the text is neither
 */
export function downloadOf (text) {
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
