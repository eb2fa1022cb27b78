import { ServiceError } from '../lib/errors.ts'
import { fieldsOf, type JsonObject, numberOf, objectOf, textOf, textsOf } from '../lib/json-values.ts'
import { type CivitaiImage, type CivitaiStats, type Model, type ModelFacts, noFacts } from '../model-facts/facts.ts'
import { plainWord, sanitiseHtml } from '../model-facts/sanitise.ts'

/** Number of images kept of a version. */
const maxImages = 20

/**
 * The facts in Civitai's answer for a model version, and in files of other tools that hold it.
 * @param fetchedAt milliseconds since the epoch; null if the answer is of unknown age
 * @returns null if it is no such answer
 */
export function factsOfVersion (answer: unknown, fetchedAt: number | null): ModelFacts | null {
  const version = fieldsOf(answer)
  const model = fieldsOf(version.model)
  const modelId = idOf(version.modelId) ?? idOf(model.id)
  const versionId = idOf(version.modelVersionId) ?? idOf(version.id)
  if (modelId === null && versionId === null) return null
  const description = textOf(model.description) ?? textOf(version.description)
  const name = plainWord(model.name)
  return {
    ...noFacts,
    name,
    baseModel: plainWord(version.baseModel),
    description: description === null ? null : sanitiseHtml(description),
    tags: textsOf(model.tags).flatMap(tag => plainWord(tag) ?? []),
    triggerWords: textsOf(version.trainedWords).flatMap(words => words.split(','))
      .flatMap(word => plainWord(word) ?? []),
    civitai: {
      modelId,
      versionId,
      modelName: name,
      versionName: plainWord(version.name),
      type: plainWord(model.type),
      nsfw: model.nsfw === true,
      downloadUrl: textOf(version.downloadUrl),
      images: imagesOf(version.images),
      fetchedAt,
      stats: statsOf(fieldsOf(version.stats), fieldsOf(model.stats))
    }
  }
}

/** The file of an answer of Civitai; hashes in lower case. */
export interface KnownFile {
  readonly filename: string
  readonly sha256: string | null
  /** First 12 digits of the hash of its tensors. */
  readonly autoV3: string | null
}

/**
 * The answer for a version, also out of one for a whole model, whose id is no version's: the version that has this
 * file, by hash before name, or the only one. If the version is unknown, the facts common to all of them.
 */
export function versionIn (answer: unknown, file: KnownFile): JsonObject {
  const model = fieldsOf(answer)
  if (!Array.isArray(model.modelVersions)) return model
  const versions = model.modelVersions.map(fieldsOf)
  const { id, name, type, nsfw, description, tags, stats } = model
  const bases = new Set(versions.map(({ baseModel }) => baseModel))
  const version = versionOfFile(versions, file) ?? (versions.length === 1 ? versions[0] : undefined) ??
    (bases.size === 1 ? { baseModel: [...bases][0] } : {})
  return { ...version, modelId: id, model: { name, type, nsfw, description, tags, stats } }
}

/** Undefined if none has the file, or several have one with its name. */
export function versionOfFile (versions: readonly JsonObject[], file: KnownFile): JsonObject | undefined {
  const { filename, sha256, autoV3 } = file
  const filesOf = ({ files }: JsonObject) => Array.isArray(files) ? files.map(fieldsOf) : []
  const hashed = versions.find(version => filesOf(version).some(({ hashes }) =>
    Object.values(fieldsOf(hashes)).some(value => {
      const hash = textOf(value)?.toLowerCase()
      return hash !== undefined && (hash === sha256 || (hash.length >= 10 && sha256?.startsWith(hash) === true) ||
        hash === autoV3)
    })))
  if (hashed !== undefined) return hashed
  const named = versions.filter(version => filesOf(version).some(({ name }) => name === filename))
  return named.length === 1 ? named[0] : undefined
}

/** Civitai's numbers, which some tools save as text. */
export function idOf (value: unknown): number | null {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) && number > 0 ? number : null
}

/** Newer answers count thumbs in place of favourites, which only models had. */
function statsOf (ofVersion: JsonObject, ofModel: JsonObject): CivitaiStats {
  const first = (name: string) => numberOf(ofVersion[name]) ?? numberOf(ofModel[name])
  return {
    downloads: first('downloadCount'), favorited: first('favoriteCount') ?? first('thumbsUpCount'), rating: first('rating')
  }
}

function imagesOf (value: unknown): CivitaiImage[] {
  const images = Array.isArray(value) ? value : []
  return images.flatMap(entry => {
    const image = objectOf(entry)
    const url = textOf(image?.url)
    if (image === null || url === null || !URL.canParse(url) || image.type === 'video') return []
    return [{ url, nsfw: isNsfw(image), width: idOf(image.width), height: idOf(image.height) }]
  }).slice(0, maxImages)
}

/** A level of 1 is for all; older answers have a flag or a word. */
function isNsfw ({ nsfw, nsfwLevel }: Readonly<Record<string, unknown>>): boolean {
  if (typeof nsfwLevel === 'number') return nsfwLevel > 1
  return nsfw === true || (typeof nsfw === 'string' && !['None', 'false', ''].includes(nsfw))
}

/** Parameters of an image at Civitai, in the names that a job takes. */
export interface ImageInfo {
  readonly parameters: Readonly<Record<string, string | number>>
  readonly resources: readonly ImageResource[]
}

export interface ImageResource {
  readonly name: string
  readonly type: string
  readonly versionId: number | null
  readonly weight: number | null
  /** First digits of its SHA-256, in lower case. */
  readonly hash: string | null
}

/**
 * The number of an image from its number or the address of its page.
 * @throws ServiceError `invalid_field_value`
 */
export function imageIdOf (text: string, field: string): number {
  const [, fromPage] = /^(?:https:\/\/civitai\.(?:com|green|red)\/images\/)?(\d{1,15})(?:[/?#].*)?$/.exec(text.trim()) ?? []
  const id = idOf(fromPage)
  if (id !== null) return id
  throw new ServiceError('invalid_field_value',
    `${field} must be the number of a picture or the address of its page, such as https://civitai.com/images/123.`, { field })
}

/** The parameters in an image's entry at Civitai; null if its author withheld them. */
export function readImageInfo (image: JsonObject): ImageInfo | null {
  const meta = objectOf(image.meta)
  if (meta === null) return null
  const inner = objectOf(meta.meta) ?? meta
  const [, width, height] = /^(\d{1,5})x(\d{1,5})$/.exec(textOf(inner.Size) ?? '') ?? []
  const given: Readonly<Record<string, string | number | null>> = {
    positive_prompt: textOf(inner.prompt),
    negative_prompt: textOf(inner.negativePrompt),
    seed: numberOf(inner.seed),
    steps: numberOf(inner.steps),
    sampler_name: textOf(inner.sampler),
    scheduler: textOf(inner['Schedule type']),
    cfg_scale: numberOf(inner.cfgScale),
    width: Number(width) || numberOf(image.width),
    height: Number(height) || numberOf(image.height),
    clip_skip: numberOf(inner.clipSkip) ?? idOf(inner['Clip skip']),
    checkpoint_name: textOf(inner.Model),
    model_hash: textOf(inner['Model hash'])?.toLowerCase() ?? null
  }
  const known = Object.entries(given).flatMap(([name, value]) => value === null ? [] : [[name, value] as const])
  return {
    parameters: Object.fromEntries(known),
    resources: [...resourcesOf(inner.resources), ...resourcesOf(inner.civitaiResources)]
  }
}

function resourcesOf (value: unknown): ImageResource[] {
  return (Array.isArray(value) ? value : []).map(fieldsOf).map(resource => ({
    name: textOf(resource.name) ?? textOf(resource.modelVersionName) ?? '',
    type: textOf(resource.type) ?? '',
    versionId: idOf(resource.modelVersionId),
    weight: numberOf(resource.weight),
    hash: textOf(resource.hash)?.toLowerCase() ?? null
  }))
}

/** The catalogue's model that an image was generated with, if it is here. */
export function findResource ({ hash, versionId }: ImageResource, models: readonly Model[]): Model | undefined {
  return models.find(model =>
    (versionId !== null && model.facts.civitai?.versionId === versionId) ||
    (hash !== null && hash.length >= 10 && (model.sha256 ?? model.shortHash)?.startsWith(hash.slice(0, 64))) ||
    (hash !== null && model.autoV3 === hash))
}
