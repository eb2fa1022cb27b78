import type { Warning } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import { nearest } from './names.ts'

/** Code of warnings about them. */
export const unknownFieldCode = 'unknown_field_ignored'

/** Names of fields are short: below this likeness (0 to 1) a suggestion would only mislead. */
const minLikeness = 0.45
/** Most names that one sentence lists. */
const maxListed = 30

/** Common names of generation parameters that have another name. */
export const parameterSynonyms: Readonly<Record<string, string>> = {
  count: 'n_iter',
  quantity: 'n_iter',
  number: 'n_iter',
  images: 'n_iter',
  negative: 'negative_prompt',
  model: 'checkpoint_name',
  guidance: 'cfg_scale',
  strength: 'denoising_strength',
  text: 'prompt'
}

/** The description of one field that nothing reads. */
export interface UnknownField {
  /** In dotted form. */
  readonly field: string
  /** The sentence about it, behind its name. */
  readonly complaint: string
  readonly message: string
  /** Names that were probably meant, in dotted form, likeliest first. */
  readonly nearest: string[]
}

/**
 * Describes a field that nothing reads, with the name that was probably meant.
 * @param parent the object of the field, in dotted form; empty at the top
 * @param synonyms names that people use for known ones
 */
export function describeUnknownField (
  name: string, known: readonly string[], parent = '', synonyms: Readonly<Record<string, string>> = {}
): UnknownField {
  const within = (field: string) => parent === '' ? field : `${parent}.${field}`
  const field = within(name.slice(0, 100))
  const isSpelling = (other: string) => other.toLowerCase() === name.toLowerCase()
  const likely = nearest(name, [...known, ...Object.keys(synonyms)], 3, minLikeness)
    .toSorted((one, other) => Number(isSpelling(other)) - Number(isSpelling(one)))
  const suggestions = [...new Set(likely.map(found => synonyms[found] ?? found))].map(within)
  const [first] = suggestions
  const meant = first !== undefined
    ? `did you mean ${first}?`
    : known.length === 0
      ? 'none is known here.'
      : `known here: ${known.slice(0, maxListed).join(', ')}${known.length > maxListed ? ', …' : ''}.`
  const complaint = `is not a known field; ${meant}`
  return { field, complaint, message: `${field} ${complaint}`, nearest: suggestions }
}

/** The most fields of one request that are named one by one. */
const maxNamed = 20

/** Warns of omitted fields; one warning each. */
export function warningsOfUnknown (unknown: readonly UnknownField[]): Warning[] {
  return unknown.slice(0, maxNamed).map(({ field, message }) =>
    ({ code: unknownFieldCode, message: `${message} It was ignored.`, field }))
}

/** The error for fields that nothing reads. */
export function unknownFieldsError (unknown: readonly [UnknownField, ...UnknownField[]]): ServiceError {
  const [{ field, complaint, nearest }, ...others] = unknown
  const sentence = (name: string) => [`${name} ${complaint}`, ...others.map(({ message }) => message)].join(' ')
  return new ServiceError('invalid_field_value', sentence, {
    field, nearest, fields: unknown.map(({ field, message }) => ({ field, message }))
  })
}
