import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { lastPart } from '../a1111/names.ts'
import { ServiceError } from '../lib/errors.ts'
import { fieldsOf, type JsonObject, textOf } from '../lib/json-values.ts'
import { withoutLeading, withoutTrailing } from '../lib/text.ts'
import type { ModelType } from '../model-facts/facts.ts'
import type { CivitaiClient } from './civitai-client.ts'
import { idOf } from './civitai-facts.ts'
import type { Download, DownloadOrder, DownloadStore } from './download.ts'
import { isInside, type ModelFolder, realPathOf, typeOfFolder } from './folders.ts'
import { discard, partOf } from './receive-download.ts'
import { typeOfSidecars } from './sidecars.ts'

const safeEndings = ['.safetensors', '.sft', '.gguf']
const pickleEndings = ['.ckpt', '.pt', '.pth', '.bin']
const longestStem = 120
/** File systems allow 255 bytes, and companions have longer names. */
const longestStemBytes = 200
/** Characters that file systems forbid in a name, or that are invisible there. */
const forbidden = /[<>:"/\\|?*\p{Cc}\p{Cs}\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]+/gu
/** Names that Windows reserves for devices. */
const reserved = /^(con|prn|aux|nul|com\d|lpt\d)$/i

/**
 * A plain file name that is valid on every system, from any proposed name.
 * @param original name at the source, whose extension counts
 * @throws ServiceError `invalid_field_value` for extensions that are no model's or, unless allowed, a pickle's
 */
export function safeFilename (proposed: string, original: string, pickles: 'refused' | 'allowed'): string {
  const ending = (/\.[a-z0-9]+$/i.exec(original)?.[0] ?? '').toLowerCase()
  if (pickleEndings.includes(ending) && pickles === 'refused') {
    throw new ServiceError('invalid_field_value', `${ending} files can run programs when they are loaded, so they are ` +
      'refused; DOWNLOAD_PICKLES=true allows them.', { field: 'filename' })
  }
  if (!safeEndings.includes(ending) && !pickleEndings.includes(ending)) {
    throw new ServiceError('invalid_field_value',
      `A model file ends in ${[...safeEndings, ...pickleEndings].join(', ')}.`, { field: 'filename' })
  }
  const last = proposed.slice(Math.max(proposed.lastIndexOf('/'), proposed.lastIndexOf('\\')) + 1)
  const plain = last.replace(/\.[a-z0-9]+$/i, '').normalize('NFC').replace(forbidden, '_')
  const stem = withoutTrailing(shortened(withoutLeading(plain, '. ')), '. ')
  return `${stem === '' || reserved.test(stem) ? `model-${stem}` : stem}${ending}`
}

function shortened (text: string): string {
  let short = ''
  for (const sign of [...text].slice(0, longestStem)) {
    if (Buffer.byteLength(short + sign) > longestStemBytes) break
    short += sign
  }
  return short
}

export interface Target {
  /** Real path of the target folder. */
  readonly folder: string
  /** Real path of the configured folder. */
  readonly root: string
}

/** A1111's and Forge's names for the folder of a type. */
const defaultFolders: Readonly<Partial<Record<ModelType, string>>> = {
  checkpoint: 'Stable-diffusion', lora: 'Lora', vae: 'VAE', embedding: 'embeddings', upscaler: 'ESRGAN', controlnet: 'ControlNet'
}

/**
 * The folder for a type: one of its own, else its folder in a shared one.
 * @throws ServiceError `no_model_folders`
 */
export async function targetFor (type: ModelType, folders: readonly ModelFolder[]): Promise<Target> {
  for (const { path } of folders.filter(folder => folder.type === type)) {
    const root = await realPathOf(path)
    if (root !== null) return { folder: root, root }
  }
  const usual = defaultFolders[type]
  for (const { path } of folders.filter(folder => folder.type === null)) {
    const root = await realPathOf(path)
    if (root === null || usual === undefined) continue
    const present = (await readdir(root)).find(name => typeOfFolder(name) === type)
    await mkdir(join(root, present ?? usual), { recursive: true })
    const folder = await realPathOf(join(root, present ?? usual))
    if (folder !== null && isInside(folder, root)) return { folder, root }
  }
  throw new ServiceError('no_model_folders',
    `No folder is set that a ${type} could go into; name one in MODELS_DIR or in the setting for its type.`)
}

interface DownloadRequest {
  /** If the source does not report it. */
  readonly type?: ModelType
  readonly filename?: string
  /** Whether formats that can run programs when they are loaded are allowed. */
  readonly pickles: 'refused' | 'allowed'
}

/**
 * The order for a version at Civitai: its primary file.
 * @throws ServiceError `civitai_not_found`, or about type and file name
 */
async function orderFromCivitai (
  civitai: CivitaiClient, id: number, requested: DownloadRequest
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
    type: requested.type ?? typeOfSidecars([{ content: version }]) ?? neededType(),
    versionId: idOf(version.id) ?? id,
    filename: safeFilename(requested.filename ?? textOf(file.name) ?? '', lastPart(textOf(file.name) ?? ''), requested.pickles),
    sha256: sha256 !== null && /^[0-9a-f]{64}$/.test(sha256) ? sha256 : null
  }
}

/**
 * The order for `hf:owner/repo@revision/path`; without revision, that of the branch main.
 * @param baseUrl of HuggingFace
 * @throws ServiceError `invalid_field_value`
 */
function orderFromHuggingFace (baseUrl: string, reference: string, requested: DownloadRequest): DownloadOrder {
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
    type: requested.type ?? neededType(),
    versionId: null,
    filename: safeFilename(requested.filename ?? lastPart(path), lastPart(path), requested.pickles),
    sha256: null
  }
}

function neededType (): never {
  throw new ServiceError('missing_required_field', 'type must say what the model is, such as checkpoint or lora.', { field: 'type' })
}

/** Also in the form that some servers would decode. */
function isUpward (part: string | undefined): boolean {
  return part !== undefined && /^(?:\.|%2e){0,2}$/i.test(part)
}

function primaryFile ({ files }: JsonObject): JsonObject | null {
  const all = Array.isArray(files) ? files.map(fieldsOf) : []
  // a version can hold its training data, sometimes before the model
  const models = all.filter(({ type }) => type === 'Model' || type === 'Pruned Model')
  const others = all.filter(({ type }) => !['Training Data', 'Config', 'Archive'].includes(String(type)))
  const offered = models.length > 0 ? models : others
  return offered.find(({ primary }) => primary === true) ?? offered[0] ?? null
}

/** Actions on downloads. Everything throws ServiceError. */
export interface DownloadService {
  readonly store: DownloadStore
  fromCivitai (versionId: number, requested: Omit<DownloadRequest, 'pickles'>): Promise<Download>
  /** @param source like `hf:owner/repository@revision/path` */
  fromHuggingFace (source: string, requested: Omit<DownloadRequest, 'pickles'>): Promise<Download>
  cancel (id: string): Promise<void>
  /** Lets a failed or cancelled one begin again. */
  retry (id: string): Promise<void>
}

export interface DownloadServiceDependencies {
  readonly store: DownloadStore
  readonly civitai: CivitaiClient
  readonly folders: readonly ModelFolder[]
  readonly huggingFaceUrl: string
  readonly pickles: DownloadRequest['pickles']
  readonly enqueue: (download: Pick<Download, 'id' | 'round'>) => Promise<void>
}

export function createDownloadService (dependencies: DownloadServiceDependencies): DownloadService {
  const { store, civitai, folders, huggingFaceUrl, pickles, enqueue } = dependencies

  async function begin (order: DownloadOrder): Promise<Download> {
    await targetFor(order.type, folders)
    const download = await store.create(order)
    await enqueue(download)
    return download
  }

  return {
    store,
    async fromCivitai (versionId, requested) {
      return await begin(await orderFromCivitai(civitai, versionId, { ...requested, pickles }))
    },
    async fromHuggingFace (source, requested) {
      return await begin(orderFromHuggingFace(huggingFaceUrl, source, { ...requested, pickles }))
    },
    async cancel (id) {
      const download = await store.require(id)
      const done = await store.move({ id }, ['pending', 'downloading'], 'cancelled', { endedAt: Date.now() })
      if (!done) throw wrongState(download, 'has finished and cannot be cancelled')
      if (download.status !== 'pending') return
      const { folder } = await targetFor(download.type, folders)
      await discard(partOf(download, folder))
    },
    async retry (id) {
      const download = await store.require(id)
      const done = await store.move(download, ['failed', 'cancelled'], 'pending', { problem: null, endedAt: null })
      if (!done) throw wrongState(download, 'has neither failed nor been cancelled')
      await enqueue(download)
    }
  }
}

function wrongState ({ filename }: Download, what: string): ServiceError {
  return new ServiceError('download_operation_invalid', `The download of ${filename} ${what}.`)
}
