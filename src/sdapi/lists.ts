import { fieldsOf, objectOf, textsOf } from '../a1111/json-values.ts'

/** The lists of A1111 and what tells one entry from another. */
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

/** One list out of several servers' own, each entry as its server shaped it; of equal ones the first. */
export function unionOfLists (name: string, answers: readonly unknown[]): unknown[] {
  const identity = listIdentities[name] ?? ['name']
  const entries = answers.flatMap(answer => Array.isArray(answer) ? answer.map(fieldsOf) : [])
  return [...new Map(entries.toReversed().map(entry =>
    [JSON.stringify(identity.map(field => entry[field])), entry])).values()].toReversed().map(withMetadata)
}

/** Metadata is left out when a list is read; clients expect an object. */
function withMetadata (entry: Readonly<Record<string, unknown>>): unknown {
  return entry.metadata === null ? { ...entry, metadata: {} } : entry
}

/** Embeddings are loaded where any server has loaded them. */
export function unionOfEmbeddings (answers: readonly unknown[]): { loaded: unknown, skipped: unknown } {
  const loaded = Object.assign({}, ...answers.toReversed().map(answer => fieldsOf(fieldsOf(answer).loaded))) as object
  const skipped = Object.assign({}, ...answers.toReversed().map(answer => fieldsOf(fieldsOf(answer).skipped))) as object
  const onlySkipped = Object.entries(skipped).filter(([name]) => !Object.hasOwn(loaded, name))
  return { loaded, skipped: Object.fromEntries(onlySkipped) }
}

export function unionOfScripts (answers: readonly unknown[]): { txt2img: string[], img2img: string[] } {
  const of = (mode: 'txt2img' | 'img2img') => [...new Set(answers.flatMap(answer => textsOf(fieldsOf(answer)[mode])))]
  return { txt2img: of('txt2img'), img2img: of('img2img') }
}

/** Names that say what must not leave a server; `token_merging_ratio` and its like are no secrets. */
const secretNames = /auth|ngrok|passw|secret|api_?key|access_?key|(^|_)tokens?$/i

/** A server's flags or options with what is secret emptied; the names stay, since clients look for them. */
export function withoutSecrets (fields: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(objectOf(fields) ?? {}).map(([name, value]) =>
    [name, secretNames.test(name) && typeof value === 'string' ? '' : value]))
}
