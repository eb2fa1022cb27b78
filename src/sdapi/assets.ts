import { fieldsOf, textOf } from '../lib/json-values.ts'
import type { CivitaiClient } from '../models/civitai-client.ts'
import { idOf } from '../models/civitai-facts.ts'
import type { DownloadService } from '../models/download-service.ts'
import type { Download } from '../models/download.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Model } from '../model-facts/facts.ts'

/** async-proxy's two kinds of asset, and their types here. */
export const assetKinds = { model: 'checkpoint', lora: 'lora' } as const
export type AssetKind = keyof typeof assetKinds

export interface AssetDependencies {
  readonly downloads: DownloadService
  readonly civitai: CivitaiClient
  readonly civitaiUrl: string
  readonly huggingFaceUrl: string
}

/** @throws ServiceError `invalid_field_value` in async-proxy's words */
export function readKind (value: unknown): AssetKind {
  const kind = (textOf(value) ?? '').toLowerCase()
  if (kind === 'model' || kind === 'lora') return kind
  throw new ServiceError('invalid_field_value', "kind must be 'model' or 'lora'", { field: 'kind' })
}

/**
 * Begins the download of an address or an AIR.
 * @throws ServiceError `invalid_field_value`, or as DownloadService
 */
export async function orderAsset (body: unknown, dependencies: AssetDependencies): Promise<Download> {
  const { downloads, civitai } = dependencies
  const { kind, url } = fieldsOf(body)
  const requested = { type: assetKinds[readKind(kind)] }
  const place = placeOf((textOf(url) ?? '').trim(), dependencies)
  if (place.at === 'huggingface') return await downloads.fromHuggingFace(place.reference, requested)
  return await downloads.fromCivitai(place.version ?? await newestVersion(civitai, place.model), requested)
}

type Place =
  | { readonly at: 'civitai', readonly model: number, readonly version: number | null }
  | { readonly at: 'huggingface', readonly reference: string }

function placeOf (text: string, { civitaiUrl, huggingFaceUrl }: AssetDependencies): Place {
  if (text === '') throw invalid('url is required')
  if (/^urn:/i.test(text)) {
    const [, model, version] = /^urn:air:[\w.-]+:[\w.-]+:civitai:(\d{1,15})@(\d{1,15})$/i.exec(text) ?? []
    if (version === undefined) throw invalid('Invalid AIR tag. Expected civitai provider with model@version.')
    return { at: 'civitai', model: Number(model), version: Number(version) }
  }
  const address = URL.canParse(text) ? new URL(text) : null
  const found = address === null
    ? null
    : (isCivitai(address, civitaiUrl) ? atCivitai(address) : null) ??
      (isHost(address, huggingFaceUrl) ? atHuggingFace(address) : null)
  if (found !== null) return found
  throw invalid('url must lead to a model at Civitai, to a file at HuggingFace, or be an AIR such as ' +
    'urn:air:sdxl:lora:civitai:1234@5678')
}

function isCivitai (address: URL, configured: string): boolean {
  return ['civitai.com', 'www.civitai.com'].includes(address.hostname) || isHost(address, configured)
}

function isHost ({ host }: URL, configured: string): boolean {
  return host === new URL(configured).host
}

function atCivitai ({ pathname, searchParams }: URL): Place | null {
  const [, download] = /\/api\/download\/models\/(\d{1,15})$/.exec(pathname) ?? []
  if (download !== undefined) return { at: 'civitai', model: 0, version: Number(download) }
  const [, model] = /\/models\/(\d{1,15})(\/[^/]*)?\/?$/.exec(pathname) ?? []
  return model === undefined
    ? null
    : { at: 'civitai', model: Number(model), version: idOf(searchParams.get('modelVersionId') ?? '') }
}

function atHuggingFace ({ pathname }: URL): Place | null {
  const [, repository, revision, path] =
    /^\/([\w.-]+\/[\w.-]+)\/(?:resolve|blob)\/([\w.-]+)\/(.+)$/.exec(decodeURI(pathname)) ?? []
  return path === undefined ? null : { at: 'huggingface', reference: `hf:${repository}@${revision}/${path}` }
}

async function newestVersion (civitai: CivitaiClient, model: number): Promise<number> {
  const { modelVersions } = await civitai.model(model, 'kept') ?? {}
  const version = Array.isArray(modelVersions) ? idOf(fieldsOf(modelVersions[0]).id) : null
  if (version === null) throw new ServiceError('civitai_not_found', `Civitai offers no version of the model ${model}.`)
  return version
}

function invalid (sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field: 'url' })
}

/** Whether it is an asset: a checkpoint or LoRA in a folder of this machine. */
export function isAsset (model: Model, kind: AssetKind | null): boolean {
  const kinds = kind === null ? Object.values(assetKinds) : [assetKinds[kind]]
  return model.files.length > 0 && kinds.some(type => type === model.type)
}

/** A model in async-proxy's form of an asset; `local_path` is within the folder of its type. */
export function assetView ({ id, type, path, files, facts }: Model) {
  const { civitai, triggerWords } = facts
  return {
    id,
    kind: type === 'lora' ? 'lora' : 'model',
    name: facts.name ?? civitai?.modelName ?? null,
    source_url: civitai?.modelId == null
      ? null
      : `https://civitai.com/models/${civitai.modelId}` +
        (civitai.versionId === null ? '' : `?modelVersionId=${civitai.versionId}`),
    example_prompt: triggerWords.length === 0 ? null : triggerWords.join(', '),
    min: 1,
    max: 1,
    local_path: path,
    created_at: new Date(createdAt({ files })).toISOString(),
    updated_at: new Date(Math.max(...files.map(({ modifiedAt }) => modifiedAt))).toISOString(),
    images: (civitai?.images ?? []).map(({ url, nsfw, width, height }) =>
      ({ url, is_nsfw: nsfw, width, height, meta: null }))
  }
}

/** Arrival of its first file, in milliseconds since the epoch. */
export function createdAt ({ files }: Pick<Model, 'files'>): number {
  return Math.min(...files.map(file => file.createdAt))
}
