import { foldedText } from '../lib/text.ts'

/**
 * How names of models, samplers and the like are compared: people and programs write the same thing with
 * other slashes, cases, endings and signs.
 */

const modelEnding = /\.(safetensors|ckpt|pth|pt|bin|gguf|sft)$/i

/** The name without one file ending of a model. */
export function withoutEnding (name: string): string {
  return name.replace(modelEnding, '')
}

/** Longest hash that stands behind a name, in letters: a whole SHA-256. */
const longestHash = 64

/**
 * A name such as `model.safetensors [0123456789]`, taken apart; the hash is null where there is none.
 * @param shortest fewer letters are no hash
 */
export function splitHash (title: string, shortest = 8): { readonly name: string, readonly hash: string | null } {
  const open = title.endsWith(']') ? title.lastIndexOf('[') : -1
  const hash = title.slice(open + 1, -1)
  const isHash = open !== -1 && hash.length >= shortest && hash.length <= longestHash && /^[0-9a-f]+$/i.test(hash)
  return isHash ? { name: title.slice(0, open).trimEnd(), hash } : { name: title, hash: null }
}

/** Runs of either slash become one `/`. */
export function withForwardSlashes (path: string): string {
  return path.replace(/[\\/]+/g, '/')
}

/** The part after the last slash of either kind. */
export function lastPart (path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1)
}

/** File name without folder and ending. */
export function bareName (path: string): string {
  return withoutEnding(lastPart(path.trim()))
}

/**
 * A name reduced to what tells it from others of its list, so that `DPM++ 2S a`, `dpmpp_2s_ancestral`
 * and `k_dpmpp_2s_a` come out equal.
 */
export function folded (name: string): string {
  return foldedText(name.trim())
    .replace(/^k[_ ]/, '')
    .replaceAll('++', 'pp')
    .replaceAll('ancestral', 'a')
    .replace(/[\s_-]+/g, '')
}

/**
 * The entry that a name means: spelled exactly, else in another case, else folded. Where several
 * entries are equal in a way, that way decides nothing.
 */
export function findNamed<Entry> (
  wanted: string, entries: readonly Entry[], namesOf: (entry: Entry) => readonly string[]
): Entry | null {
  const ways: ReadonlyArray<(name: string) => string> = [
    name => name.trim(), name => name.trim().normalize('NFC').toLowerCase(), name => foldedText(name.trim()), folded
  ]
  for (const way of ways) {
    const target = way(wanted)
    const matches = entries.filter(entry => namesOf(entry).some(name => way(name) === target))
    if (matches.length === 1) return matches[0] ?? null
    // its own name goes before what others are called besides
    const own = matches.filter(entry => way(namesOf(entry)[0] ?? '') === target)
    if (own.length === 1) return own[0] ?? null
  }
  return null
}
