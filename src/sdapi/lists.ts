import { fieldsOf, objectOf, textsOf } from '../lib/json-values.ts'
import type { Model } from '../model-facts/facts.ts'

/** The lists of A1111 and the key of each entry. */
const listIdentities: Readonly<Record<string, readonly string[]>> = {
  samplers: ['name'],
  schedulers: ['name'],
  upscalers: ['name'],
  'latent-upscale-modes': ['name'],
  'sd-models': ['title'],
  'sd-vae': ['model_name'],
  'sd-modules': ['model_name'],
  hypernetworks: ['name'],
  'face-restorers': ['name'],
  'realesrgan-models': ['name'],
  'prompt-styles': ['name'],
  'script-info': ['name', 'is_alwayson', 'is_img2img'],
  extensions: ['name'],
  loras: ['name']
}

export const listNames: readonly string[] = Object.keys(listIdentities)

/** Merges several servers' lists, each entry as its server shaped it; of equal ones the first. */
export function unionOfLists (name: string, answers: readonly unknown[]): unknown[] {
  const identity = listIdentities[name] ?? ['name']
  const entries = answers.flatMap(answer => Array.isArray(answer) ? answer.map(fieldsOf) : [])
  return [...new Map(entries.toReversed().map(entry =>
    [JSON.stringify(identity.map(field => entry[field])), entry])).values()].toReversed().map(withMetadata)
}

/** Folders of modules that are no VAEs. */
const otherModules = /[\\/](text[_ -]?encoders?|clip|te)[\\/]/i

/** The VAEs in a list of modules, which has no types; the folders show them. */
export function vaesAmong (modules: unknown): unknown[] {
  const entries = Array.isArray(modules) ? modules.map(fieldsOf) : []
  return entries.filter(({ filename }) => !otherModules.test(String(filename)))
}

/** Metadata is left out when a list is read; clients expect an object. */
function withMetadata (entry: Readonly<Record<string, unknown>>): unknown {
  return entry.metadata === null ? { ...entry, metadata: {} } : entry
}

/** Embeddings are loaded where any server has loaded them. */
export function unionOfEmbeddings (answers: readonly unknown[]): { loaded: unknown, skipped: unknown } {
  const united = (state: 'loaded' | 'skipped') =>
    Object.assign({}, ...answers.toReversed().map(answer => described(fieldsOf(answer)[state]))) as object
  const loaded = united('loaded')
  const skipped = united('skipped')
  const onlySkipped = Object.entries(skipped).filter(([name]) => !Object.hasOwn(loaded, name))
  return { loaded, skipped: Object.fromEntries(onlySkipped) }
}

/** Some servers give names alone, where clients of A1111 expect facts. */
function described (embeddings: unknown): Readonly<Record<string, unknown>> {
  if (!Array.isArray(embeddings)) return fieldsOf(embeddings)
  const unknown = { step: null, sd_checkpoint: null, sd_checkpoint_name: null, shape: 0, vectors: 0 }
  return Object.fromEntries(textsOf(embeddings).map(name => [name, unknown]))
}

export function unionOfScripts (answers: readonly unknown[]): { txt2img: string[], img2img: string[] } {
  const of = (mode: 'txt2img' | 'img2img') => [...new Set(answers.flatMap(answer => textsOf(fieldsOf(answer)[mode])))]
  return { txt2img: of('txt2img'), img2img: of('img2img') }
}

/** Names of secrets that must not leave a server; `token_merging_ratio` and its like are no secrets. */
const secretNames = /auth|ngrok|passw|secret|api_?key|access_?key|(^|_)tokens?$/i

/** A server's flags or options with secrets emptied; the names stay, since clients look for them. */
export function withoutSecrets (fields: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(objectOf(fields) ?? {}).map(([name, value]) =>
    [name, secretNames.test(name) && typeof value === 'string' ? '' : value]))
}

/** A checkpoint in A1111's list, with Civitai's facts; `filename` is a path within the model folder. */
export function checkpointDetails (model: Model) {
  const [seen] = model.reported
  return {
    id: model.id,
    title: seen?.title ?? model.filename,
    model_name: model.filename.replace(/\.[^.]+$/, ''),
    hash: model.shortHash,
    sha256: model.sha256,
    filename: model.path,
    config: null,
    civitai: civitaiOf(model)
  }
}

/** A LoRA in A1111's list, with Civitai's facts. */
export function loraDetails (model: Model) {
  const [seen] = model.reported
  const name = seen?.title ?? model.filename.replace(/\.[^.]+$/, '')
  return { id: model.id, name, alias: seen?.alias ?? name, path: model.path, metadata: {}, civitai: civitaiOf(model) }
}

/** In the names of Civitai's own answer about the version of a model; null if it knows nothing. */
function civitaiOf ({ facts }: Model) {
  const { civitai } = facts
  if (civitai === null) return null
  return {
    id: civitai.versionId,
    modelId: civitai.modelId,
    name: civitai.versionName,
    baseModel: facts.baseModel,
    model: { name: civitai.modelName, type: civitai.type, nsfw: civitai.nsfw },
    trainedWords: [...facts.triggerWords],
    images: civitai.images.map(image => ({ ...image, meta: null })),
    downloadUrl: civitai.downloadUrl
  }
}
