import type { TObject } from '@sinclair/typebox'
import { factsOf } from '../../schemas/a1111-fields.ts'
import type { Warning } from '../../schemas/generation-parameters.ts'
import { type Sentence, ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { objectOf } from '../lib/json-values.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import { largestSeed, readInteger } from '../lib/seeds.ts'

/** The rule of a field's value. */
export interface FieldRule {
  readonly kind: 'integer' | 'seed' | 'number' | 'boolean' | 'string' | 'array' | 'object'
  readonly minimum?: number | bigint
  readonly maximum?: number | bigint
  /** The range that A1111's own interface offers; its API accepts more. */
  readonly usual?: readonly [least: number, most: number]
  /** Maximum length: of a text in characters, of a list in items. */
  readonly longest?: number
  /** It holds an image, or a list of them. */
  readonly isImage?: true
}

export type FieldRules = ReadonlyMap<string, FieldRule>

/** The rules in a schema of plain fields, so that the documented rules are the enforced ones. */
export function fieldRules (schema: TObject): FieldRules {
  return new Map(Object.entries(schema.properties).map(([name, field]) => [name, {
    kind: field.type as FieldRule['kind'],
    ...definedOnly({
      minimum: field.minimum,
      maximum: field.maximum,
      usual: factsOf(field).range,
      isImage: factsOf(field).isImage,
      longest: field.maxLength ?? field.maxItems
    }),
    ...(field.format === 'uint64' ? { kind: 'seed', maximum: largestSeed } as const : {})
  }]))
}

/** The rule without bounds of numbers, for clients that want the server's own judgement of them. */
export function withoutBounds ({ minimum, maximum, ...rule }: FieldRule): FieldRule {
  return rule
}

/** The warning for a number that A1111's own interface does not offer; null for any other value. */
export function warningOfRange (field: string, value: unknown, { usual }: FieldRule): Warning | null {
  if (usual === undefined || typeof value !== 'number' || (value >= usual[0] && value <= usual[1])) return null
  const [least, most] = usual
  const message = `${field} is ${value}; A1111's own interface offers ${least} to ${most}. The server gets it as it is.`
  return { code: 'outside_usual_range', message, field }
}

/** The object without its undefined values. */
export function definedOnly<Value> (values: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  const defined: Record<string, Value> = {}
  for (const name of Object.keys(values)) {
    const value = values[name]
    if (value !== undefined) put(defined, name, value)
  }
  return defined
}

/** Sets a field, also one that is called `__proto__`. */
function put<Value> (object: Record<string, Value>, name: string, value: Value): void {
  if (name !== '__proto__') object[name] = value
  else Reflect.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
}

/** The object without the fields that the test names; itself if it has none of them. */
export function without<Value> (
  values: Readonly<Record<string, Value>>, isLeftOut: (name: string) => boolean
): Readonly<Record<string, Value>> {
  const names = Object.keys(values)
  if (!names.some(isLeftOut)) return values
  const kept: Record<string, Value> = {}
  for (const name of names) if (!isLeftOut(name)) put(kept, name, values[name] as Value)
  return kept
}

/** The named values that are defined. */
export function picked (values: Readonly<Record<string, unknown>>, names: readonly string[]): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const name of names) if (values[name] !== undefined) put(found, name, values[name])
  return found
}

export function isRecord (value: unknown): value is Record<string, unknown> {
  return objectOf(value) !== null
}

/** Whether a value is unset: absent, null or blank text. */
export function isUnset (value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '')
}

/** Whether nothing was chosen: unset, or a word for nothing in A1111's own menus. */
export function isUnchosen (value: unknown): boolean {
  return isUnset(value) || (typeof value === 'string' && noChoice.test(value.trim()))
}

const noChoice = /^(none|automatic|use same (sampler|scheduler|checkpoint|choices|upscaler))$/i

/** A 400 about one field. */
export function invalidField (field: string, sentence: Sentence): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field })
}

/**
 * A value converted by its rule. Like A1111, it accepts numbers and flags as text, 0 and 1 for flags, and a single
 * value for a list; unlike A1111 it refuses fractions for whole numbers.
 * @throws ServiceError `invalid_field_value` naming the field and the allowed values
 */
export function readValue (field: string, value: unknown, rule: FieldRule): unknown {
  const read = readers[rule.kind](isUploadedImage(value) && rule.isImage !== true ? String(value) : value, rule)
  if (read !== undefined) return read
  throw invalidField(field, name => `${name} is ${shown(value)}, but must be ${allowed(rule)}.`)
}

const readers: Readonly<Record<FieldRule['kind'], (value: unknown, rule: FieldRule) => unknown>> = {
  integer: (value, rule) => {
    const number = inRange(asNumber(typeof value === 'boolean' ? Number(value) : value), rule)
    return Number.isSafeInteger(number) ? number : undefined
  },
  seed: (value, rule) => inRange(readInteger(value), rule),
  number: (value, rule) => inRange(asNumber(value), rule),
  boolean: asFlag,
  string: (value, rule) => isUploadedImage(value) || (typeof value === 'string' && isShortEnough(value, rule)) ? value : undefined,
  array: (value, rule) => {
    const list = Array.isArray(value) ? value : typeof value === 'string' || isUploadedImage(value) ? [value] : undefined
    return list !== undefined && isShortEnough(list, rule) ? list : undefined
  },
  object: value => isRecord(value) ? value : undefined
}

function asNumber (value: unknown): number | undefined {
  if (typeof value === 'number') return withinDoubles(value)
  if (typeof value !== 'string' || !/^\s*[+-]?\d+(\.\d*)?(e[+-]?\d{1,4})?\s*$/i.test(value)) return undefined
  return asNumber(Number(value))
}

/** A1111's own value for "no end" is infinity, which JSON cannot carry: the largest number does the same. */
function withinDoubles (value: number): number | undefined {
  if (Number.isFinite(value)) return value
  return Number.isNaN(value) ? undefined : Math.sign(value) * Number.MAX_VALUE
}

function inRange<Value extends number | bigint> (
  value: Value | undefined, { minimum = -Infinity, maximum = Infinity }: FieldRule
): Value | undefined {
  return value !== undefined && value >= minimum && value <= maximum ? value : undefined
}

function asFlag (value: unknown): boolean | undefined {
  const word = typeof value === 'string' ? value.trim().toLowerCase() : value
  if (word === true || word === 1 || word === 'true' || word === '1') return true
  if (word === false || word === 0 || word === 'false' || word === '0') return false
  return undefined
}

function isShortEnough (value: { readonly length: number }, { longest = Infinity }: FieldRule): boolean {
  return value.length <= longest
}

function shown (value: unknown): string {
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (isRecord(value)) return 'an object'
  // JSON cannot express them
  const text = typeof value === 'number' && !Number.isFinite(value) ? String(value) : stringifyJson(value)
  return text.length > 60 ? `a text of ${String(value).length} characters` : text
}

const kindNames: Readonly<Record<FieldRule['kind'], string>> = {
  integer: 'a whole number',
  seed: 'a whole number',
  number: 'a number',
  boolean: 'true or false',
  string: 'text',
  array: 'a list',
  object: 'an object'
}

function allowed ({ kind, minimum, maximum, longest }: FieldRule): string {
  const range = [
    minimum === undefined ? '' : maximum === undefined ? ` of at least ${minimum}` : ` from ${minimum}`,
    maximum === undefined ? '' : ` to ${maximum}`,
    longest === undefined ? '' : ` of at most ${longest} ${kind === 'string' ? 'characters' : 'items'}`
  ]
  return kindNames[kind] + range.join('')
}
