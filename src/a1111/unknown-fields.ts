import { ServiceError } from '../errors.ts'
import { nearest } from './nearest.ts'

/** Names of fields are short: below this likeness (0 to 1) a suggestion would only mislead. */
const leastLikeness = 0.45
/** Most names that one sentence lists. */
const mostListed = 30

/** What is said about one field that nothing reads. */
export interface UnknownField {
  /** In dotted form. */
  readonly field: string
  readonly message: string
  /** Names that were probably meant, in dotted form, likeliest first. */
  readonly nearest: string[]
}

/**
 * Describes a field that nothing reads, with the name that was probably meant.
 * @param parent where the field stands, in dotted form; empty at the top
 * @param synonyms names that people use for known ones
 */
export function describeUnknownField (
  name: string, known: readonly string[], parent = '', synonyms: Readonly<Record<string, string>> = {}
): UnknownField {
  const within = (field: string) => parent === '' ? field : `${parent}.${field}`
  const field = within(name.slice(0, 100))
  const likely = nearest(name, [...known, ...Object.keys(synonyms)], 3, leastLikeness)
  const suggestions = [...new Set(likely.map(found => synonyms[found] ?? found))].map(within)
  const [first] = suggestions
  const meant = first !== undefined
    ? `did you mean ${first}?`
    : known.length === 0
      ? 'none is known here.'
      : `known here: ${known.slice(0, mostListed).join(', ')}${known.length > mostListed ? ', …' : ''}.`
  return { field, message: `${field} is not a known field; ${meant}`, nearest: suggestions }
}

/** The error for fields that nothing reads. */
export function unknownFieldsError (unknown: readonly [UnknownField, ...UnknownField[]]): ServiceError {
  const [{ field, nearest }] = unknown
  return new ServiceError('invalid_field_value', unknown.map(({ message }) => message).join(' '), {
    field, nearest, fields: unknown.map(({ field, message }) => ({ field, message }))
  })
}
