import type { Warning } from '../../schemas/generation-parameters.ts'
import { invalidField } from '../a1111/field-values.ts'
import { bareName } from '../a1111/names.ts'
import { signalInName } from '../a1111/regional-admission.ts'
import { capitalWords, networkTag, signalIn, signalWords, type AndMeaning } from '../a1111/regional-keywords.ts'

/** A tag such as `<lora:name:0.8>`, taken out of the text it stood in. */
export interface NetworkTag {
  readonly name: string
  /** As it is written in a prompt. */
  readonly tag: string
  /** The input that it came from. */
  readonly field: string
}

export interface PlainText {
  /** Without tags. */
  readonly text: string
  readonly tags: readonly NetworkTag[]
}

export type Warn = (warning: Warning) => void

/** The text without its tags, and the tags. */
export function takeTags (given: string, field: string): PlainText {
  const tags = [...given.matchAll(networkTag)].map(match => ({ name: (match[1] ?? '').trim(), tag: match[0], field }))
  if (tags.length === 0) return { text: given.trim(), tags }
  return { text: tidied(given.replace(networkTag, ' ')), tags }
}

/** The text without the empty places that something left in it. */
function tidied (text: string): string {
  return text.split(',').map(part => part.trim().replace(/ +/g, ' ')).filter(part => part !== '').join(', ')
}

/** The first tag of each name. */
export function firstOfEach (tags: readonly NetworkTag[], warn: Warn): NetworkTag[] {
  const kept = new Map<string, NetworkTag>()
  for (const one of tags) {
    const name = bareName(one.name).toLowerCase()
    const first = kept.get(name)
    if (first === undefined) kept.set(name, one)
    else if (first.tag !== one.tag) {
      warn({ code: 'lora_named_twice', message: `${one.name} is in the prompt twice; ${first.tag} counts.`, field: one.field })
    }
  }
  return [...kept.values()]
}

/** A keyword that stands alone; those of the matrix are found in any case. */
const wholeKeyword = /(?<![\p{L}\p{N}_])(?:BREAK|ADDCOMM|ADDBASE|[Aa][Dd][Dd](?:[Cc][Oo][Ll]|[Rr][Oo][Ww]|[Pp]))(?![\p{L}\p{N}_])/gu

/**
 * A client's words with nothing in them that the Regional Prompter would take for its own, which it looks for inside
 * words too. Words in capitals become small where that is enough, as CLIP reads both alike.
 * @param side only in the positive prompt does the case of some words not help
 * @throws ServiceError `invalid_field_value` for a word that cannot be written otherwise
 */
export function plainWords (given: string, field: string, side: 'positive' | 'negative', warn: Warn): string {
  const told = new Set<string>()
  const parted = given.replace(wholeKeyword, word => {
    if (side === 'negative' && word !== word.toUpperCase()) return word
    if (!told.has(word)) warn({ code: 'regional_keyword_removed', message: `${word} divides a prompt into regions, so ${field} has a comma in its place.`, field })
    told.add(word)
    return ','
  })
  const text = parted.replace(/[\p{L}\p{N}_]+/gu, word => {
    if (side === 'positive' && signalWords.test(word)) throw unwritable(word, field)
    if (!capitalWords.test(word)) return word
    if (word === 'AND' && !told.has(word)) {
      told.add(word)
      warn({ code: 'regional_keyword_removed', message: `AND mixes whole pictures, so ${field} has a small "and" in its place.`, field })
    }
    return word.toLowerCase()
  })
  return parted === given ? text : tidied(text)
}

/**
 * The names of tags stay as they are, since files are called so; what the Regional Prompter would read out of one
 * cannot be kept from it.
 * @throws ServiceError `invalid_field_value`
 */
export function refuseSignalsInTags (tags: readonly NetworkTag[], and: AndMeaning): void {
  for (const { tag, name, field } of tags) {
    const signal = signalIn(tag, and)
    if (signal !== null) throw signalInName(name, signal, field)
  }
}

function unwritable (word: string, field: string) {
  return invalidField(field, `${field} contains the word "${word}", in which the Regional Prompter finds ` +
    `"${signalWords.exec(word)?.[0] ?? word}", an order of its own. Write it otherwise.`)
}
