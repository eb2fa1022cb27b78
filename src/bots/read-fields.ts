import type { Static, TObject, TSchema } from '@sinclair/typebox'
import { factsOf } from '../../schemas/a1111-fields.ts'
import { isRecord } from '../a1111/field-values.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import { isSeed, largestSeed, readInteger } from '../lib/seeds.ts'
import { describeUnknownField, type UnknownField } from '../a1111/unknown-fields.ts'
import { ValidationFailure, type ValidationDetail } from '../fastapi/errors.ts'
import type { FieldKind, Problem } from '../fastapi/model.ts'
import { pydantic2 } from '../fastapi/pydantic2.ts'

/** `body`, `query` or `path`, and the path from there. */
export type Location = ReadonlyArray<string | number>

/**
 * Reads a client's fields by a schema as FastAPI reads them by a model, for which clients of this interface were
 * written: numbers and flags can be text, defaults are filled in, unknown fields are dropped, null is kept only if the
 * schema has it.
 * @throws ValidationFailure with an entry for each field that does not fit
 */
export function readFields<Schema extends TObject> (
  schema: Schema, source: unknown, place: Location = ['body']
): Static<Schema> {
  const details: ValidationDetail[] = []
  const values = readObject(schema, source, place, details)
  if (details.length > 0) throw new ValidationFailure(details)
  return values as Static<Schema>
}

/** What nothing reads of a request, also inside of its lists and objects. */
export function unknownFields (schema: TSchema, source: unknown, place: Location = []): UnknownField[] {
  const choices = schema.anyOf as TSchema[] | undefined
  if (choices !== undefined) {
    const choice = choices.find(({ type }) => type === (Array.isArray(source) ? 'array' : 'object'))
    return choice === undefined ? [] : unknownFields(choice, source, place)
  }
  if (Array.isArray(source)) {
    const { items } = schema as { items?: TSchema }
    return items === undefined ? [] : source.flatMap((item, index) => unknownFields(items, item, [...place, index]))
  }
  const { properties } = schema as { properties?: Record<string, TSchema> }
  if (!isRecord(source) || properties === undefined) return []
  const known = Object.keys(properties)
  return Object.entries(source).flatMap(([name, value]) => {
    const field = properties[name]
    if (value === undefined) return []
    return field === undefined
      ? [describeUnknownField(name, known, place.join('.'))]
      : unknownFields(field, value, [...place, name])
  })
}

/** @throws ValidationFailure with an entry for each field that nothing reads */
export function refuseUnknownFields (schema: TObject, source: unknown): void {
  refuse(unknownFields(schema, source))
}

/** @throws ValidationFailure with an entry for each of them */
export function refuse (unknown: readonly UnknownField[]): void {
  if (unknown.length === 0) return
  throw new ValidationFailure(unknown.map(({ field, message, nearest }) =>
    validationDetail(['body', ...field.split('.')], null, { type: 'extra_forbidden', msg: message, ctx: { nearest } })))
}

/** One complaint in FastAPI's shape. */
export function validationDetail (location: Location, input: unknown, { type, msg, ctx }: Problem): ValidationDetail {
  return { type, loc: location, msg, input: shown(input), ...(ctx === undefined ? {} : { ctx }) }
}

function readObject (schema: TSchema, source: unknown, location: Location, details: ValidationDetail[]): unknown {
  if (!isRecord(source)) {
    const problem = source === undefined ? pydantic2.missing : pydantic2.notAnObject(source)
    details.push(validationDetail(location, source ?? null, problem))
    return {}
  }
  const properties = schema.properties as Record<string, TSchema>
  const required = new Set(schema.required as string[] | undefined)
  return Object.fromEntries(Object.entries(properties).flatMap(([name, field]) => {
    const value = source[name]
    if (value !== undefined) return [[name, readValue(field, value, [...location, name], details)]]
    if (required.has(name)) details.push(validationDetail([...location, name], source, pydantic2.missing))
    return field.default === undefined ? [] : [[name, structuredClone(field.default as unknown)]]
  }))
}

function readValue (field: TSchema, value: unknown, location: Location, details: ValidationDetail[]): unknown {
  const complain = (problem: Problem) => { details.push(validationDetail(location, value, problem)) }
  const choices = field.anyOf as TSchema[] | undefined
  if (choices !== undefined) return readChoice(choices, value, location, details)
  if (field.type === undefined) return value
  if (isUploadedImage(value)) {
    return factsOf(field).isImage === true ? value : readValue(field, String(value), location, details)
  }
  const kind = kinds[String(field.type)]
  if (kind === undefined) return value
  if (value === null) {
    complain(pydantic2.noneProblem(kind))
    return null
  }
  const whole = field['x-exact-integers'] === true ? readInteger(value) : undefined
  const outcome = whole === undefined ? pydantic2.coerce(kind, value) : { value: whole }
  if ('problem' in outcome) {
    complain(outcome.problem)
    return null
  }
  const read = outcome.value
  if (isSeed(read)) complainOfRange(field, read, complain)
  if (typeof read === 'string') complainOfText(field, read, complain)
  if (Array.isArray(read)) {
    const { items, maxItems, minItems = 0 } = field as { items?: TSchema, maxItems?: number, minItems?: number }
    if (maxItems !== undefined && read.length > maxItems) complain(tooLong('List', maxItems, read.length))
    if (read.length < minItems) complain(tooShort(minItems, read.length))
    if (items === undefined) return read
    return read.map((item: unknown, index) => readValue(items, item, [...location, index], details))
  }
  if (!isRecord(read)) return read
  if (field.properties !== undefined) return readObject(field, read, location, details)
  // A record has one pattern, which fits every name.
  const [each] = Object.values(field.patternProperties as Record<string, TSchema> | undefined ?? {})
  if (each === undefined) return read
  return Object.fromEntries(Object.entries(read).map(([name, one]) =>
    [name, readValue(each, one, [...location, name], details)]))
}

const kinds: Readonly<Record<string, Exclude<FieldKind, 'any' | 'choice'>>> = {
  string: 'string', integer: 'integer', number: 'number', boolean: 'boolean', object: 'object', array: 'list'
}

/** The first shape that fits; null itself where null is one of them. */
function readChoice (
  choices: readonly TSchema[], value: unknown, location: Location, details: ValidationDetail[]
): unknown {
  if (value === null && choices.some(({ type }) => type === 'null')) return null
  let complaints: ValidationDetail[] = []
  for (const choice of choices.filter(({ type }) => type !== 'null')) {
    const found: ValidationDetail[] = []
    const read = readValue(choice, value, location, found)
    if (found.length === 0) return read
    if (complaints.length === 0) complaints = found
  }
  details.push(...complaints)
  return null
}

function complainOfRange (field: TSchema, value: number | bigint, complain: (problem: Problem) => void): void {
  const { minimum, maximum } = field.format === 'uint64'
    ? { minimum: field.minimum as number | undefined, maximum: largestSeed }
    : field as { minimum?: number, maximum?: number }
  if (minimum !== undefined && value < minimum) complain(pydantic2.tooSmall(minimum))
  if (maximum !== undefined && value > maximum) complain(pydantic2.tooBig(maximum))
}

function complainOfText (field: TSchema, value: string, complain: (problem: Problem) => void): void {
  const { minLength, maxLength, enum: words } = field as { minLength?: number, maxLength?: number, enum?: string[] }
  if (maxLength !== undefined && value.length > maxLength) complain(tooLong('String', maxLength, value.length))
  if (minLength !== undefined && value.length < minLength) {
    complain({
      type: 'string_too_short', msg: `String should have at least ${minLength} character`, ctx: { min_length: minLength }
    })
  }
  if (words !== undefined && !words.includes(value)) {
    const pattern = `^(${words.join('|')})$`
    complain({ type: 'string_pattern_mismatch', msg: `String should match pattern '${pattern}'`, ctx: { pattern } })
  }
}

function tooLong (what: 'String' | 'List', most: number, actual: number): Problem {
  return what === 'String'
    ? { type: 'string_too_long', msg: `String should have at most ${most} characters`, ctx: { max_length: most } }
    : {
        type: 'too_long',
        msg: `List should have at most ${most} items after validation, not ${actual}`,
        ctx: { field_type: 'List', max_length: most, actual_length: actual }
      }
}

function tooShort (least: number, actual: number): Problem {
  return {
    type: 'too_short',
    msg: `List should have at least ${least} items after validation, not ${actual}`,
    ctx: { field_type: 'List', min_length: least, actual_length: actual }
  }
}

/** Longer inputs are pictures, which an answer does not repeat. */
const longestShown = 500

/** The input as an answer quotes it. */
function shown (input: unknown): unknown {
  if (typeof input === 'string') return input.length > longestShown ? `${input.slice(0, longestShown)}…` : input
  if (Array.isArray(input)) return input.slice(0, 20).map(shown)
  if (!isRecord(input)) return input
  return Object.fromEntries(Object.entries(input).slice(0, 100).map(([name, value]) => [name, shown(value)]))
}
