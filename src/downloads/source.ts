import { fieldsOf, textOf, type JsonObject } from '../a1111/json-values.ts'
import { lastPart } from '../a1111/names.ts'
import type { CivitaiClient } from '../civitai/client.ts'
import { idOf } from '../civitai/version-facts.ts'
import { ServiceError } from '../errors.ts'
import type { ModelType } from '../models/model.ts'
import { typeOfSidecars } from '../models/sidecars.ts'
import type { DownloadOrder } from './download.ts'
import { safeFilename } from './target.ts'

export interface DownloadWish {
  /** Where the source does not tell. */
  readonly type?: ModelType
  readonly filename?: string
  /** Whether formats that can run programs when they are loaded may come. */
  readonly pickles: 'refused' | 'allowed'
}

/**
 * The order for a version at Civitai: its primary file.
 * @throws ServiceError `civitai_not_found`, or about type and file name
 */
export async function orderFromCivitai (
  civitai: CivitaiClient, id: number, wish: DownloadWish
): Promise<DownloadOrder> {
  const version = await civitai.version(id, 'kept')
  const file = version === null ? null : primaryFile(version)
  const url = textOf(file?.downloadUrl) ?? textOf(version?.downloadUrl)
  if (version === null || file === null || url === null || !URL.canParse(url)) {
    throw new ServiceError('civitai_not_found', `Civitai offers no file for the version ${id}.`)
  }
  const sha256 = textOf(fieldsOf(file.hashes).SHA256)?.toLowerCase() ?? null
  return {
    source: 'civitai',
    url,
    modelName: textOf(fieldsOf(version.model).name) ?? textOf(version.name) ?? String(id),
    type: wish.type ?? typeOfSidecars([{ content: version }]) ?? neededType(),
    versionId: idOf(version.id) ?? id,
    filename: safeFilename(wish.filename ?? textOf(file.name) ?? '', lastPart(textOf(file.name) ?? ''), wish.pickles),
    sha256: sha256 !== null && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null
  }
}

/**
 * The order for `hf:owner/repo@revision/path`; without revision, that of the branch main.
 * @param baseUrl of HuggingFace
 * @throws ServiceError `invalid_field_value`
 */
export function orderFromHuggingFace (baseUrl: string, reference: string, wish: DownloadWish): DownloadOrder {
  const [, owner, repository, revision = 'main', path] =
    /^hf:([\w.-]{1,96})\/([\w.-]{1,96})(?:@([\w.-]{1,96}))?\/([^\p{C}?#\\]{1,400})$/u.exec(reference.trim()) ?? []
  if (path === undefined || [owner, repository, revision, ...path.split('/')].some(isUpward)) {
    throw new ServiceError('invalid_field_value',
      'source must be like hf:owner/repository@revision/path/of/file.safetensors.', { field: 'source' })
  }
  return {
    source: 'huggingface',
    url: `${baseUrl}/${owner}/${repository}/resolve/${revision}/${path.split('/').map(encodeURIComponent).join('/')}`,
    modelName: `${owner}/${repository}`,
    type: wish.type ?? neededType(),
    versionId: null,
    filename: safeFilename(wish.filename ?? lastPart(path), lastPart(path), wish.pickles),
    sha256: null
  }
}

function neededType (): never {
  throw new ServiceError('missing_required_field', 'type must say what the model is, such as checkpoint or lora.', { field: 'type' })
}

/** Also as some servers would decode it. */
function isUpward (part: string | undefined): boolean {
  return part !== undefined && /^(?:\.|%2e){0,2}$/i.test(part)
}

function primaryFile ({ files }: JsonObject): JsonObject | null {
  const all = Array.isArray(files) ? files.map(fieldsOf) : []
  // a version may hold what it was trained with, sometimes before the model
  const models = all.filter(({ type }) => type === 'Model' || type === 'Pruned Model')
  const others = all.filter(({ type }) => !['Training Data', 'Config', 'Archive'].includes(String(type)))
  const offered = models.length > 0 ? models : others
  return offered.find(({ primary }) => primary === true) ?? offered[0] ?? null
}
