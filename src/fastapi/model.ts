import { noteFloat, parseJsonText } from '../lib/exact-json.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import { type ValidationDetail, ValidationFailure } from './errors.ts'

/** The type of a field of a request model. `strings` is a list of strings, `choice` one of `choices`. */
export type FieldKind = 'string' | 'integer' | 'number' | 'boolean' | 'object' | 'list' | 'strings' | 'choice' | 'any'

/** One field of a request model of A1111. */
interface Field {
  readonly kind: FieldKind
  readonly fallback: unknown
  /** Whether null is accepted. */
  readonly nullable: boolean
  readonly required: boolean
  /** Set if a float has a whole number as its default, which Python keeps as it is. */
  readonly isFallbackWhole?: true
  readonly choices?: readonly number[]
  readonly atLeast?: number
  readonly above?: number
  readonly atMost?: number
  /** A text that is an image, and can be an uploaded one. */
  readonly isImage?: true
}

export type Model = Readonly<Record<string, Field>>

/** A field that can be omitted and can be null. */
export function optional (kind: FieldKind, fallback: unknown = null): Field {
  return { kind, fallback, nullable: true, required: false }
}

/** A field that can be omitted but must not be null, within the given bounds. */
export function strict (
  kind: FieldKind, fallback: unknown, bounds: Pick<Field, 'choices' | 'atLeast' | 'above' | 'atMost'> = {}
): Field {
  return { kind, fallback, nullable: false, required: false, ...bounds }
}

/** A required field. */
export function required (kind: FieldKind): Field {
  return { kind, fallback: undefined, nullable: false, required: true }
}

/** Why a value is invalid, in the words of one pydantic version. */
export interface Problem {
  readonly type: string
  readonly msg: string
  readonly ctx?: Readonly<Record<string, unknown>>
}

export type Coercion = { readonly value: unknown } | { readonly problem: Problem }

/** How one version of pydantic reads values and words its errors. */
export interface Dialect {
  readonly coerce: (kind: Exclude<FieldKind, 'any' | 'choice'>, value: unknown) => Coercion
  readonly missing: Problem
  readonly notAnObject: (value: unknown) => Problem
  /** The problem of a body that must be an object, without a model. */
  readonly notADict: Problem
  /** Whether an empty list passes for an object. */
  readonly takesEmptyLists: boolean
  readonly noneProblem: (kind: FieldKind) => Problem
  readonly tooSmall: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly notAbove: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly tooBig: (limit: number | bigint, kind?: FieldKind) => Problem
  readonly notAChoice: (value: unknown, choices: readonly number[]) => Problem
  readonly badJson: (text: string) => { readonly location: number, readonly problem: Problem }
  /** The entry of `detail` for a problem. */
  readonly render: (
    location: ReadonlyArray<string | number>, value: unknown, problem: Problem
  ) => Record<string, unknown>
}

/** Replaces a missing JSON body: an empty one, or bytes of another content type. */
export const noBody = Symbol('no body')
export const foreignBody = Symbol('a body that is not declared as JSON')

/**
 * Parses a body like FastAPI, before any other code sees the request.
 *
 * @throws ValidationFailure for text that is not JSON
 */
export function parseBody (dialect: Dialect, body: Buffer, contentType: string | undefined): unknown {
  if (body.length === 0) return noBody
  if (contentType !== undefined && contentType !== '' && !/^application\/([^;]*\+)?json\b/i.test(contentType.trim())) {
    return foreignBody
  }
  const text = body.toString()
  try {
    return parseJsonText(text)
  } catch {
    const { location, problem } = dialect.badJson(text)
    throw new ValidationFailure([dialect.render(['body', location], {}, problem)])
  }
}

/**
 * Reads a body that can be any object.
 *
 * @throws ValidationFailure for everything else
 */
export function readObject (dialect: Dialect, source: unknown): Record<string, unknown> {
  readModel({ ...dialect, notAnObject: () => dialect.notADict }, {}, source)
  return { ...source as Record<string, unknown> }
}

/**
 * Reads a request as one of A1111's models: every field present, coerced, unknown ones dropped.
 *
 * @throws ValidationFailure with one entry for each invalid field
 */
export function readModel (
  dialect: Dialect, model: Model, source: unknown, place: 'body' | 'query' = 'body'
): Record<string, unknown> {
  if (source === noBody || source === null) {
    throw new ValidationFailure([dialect.render([place], null, dialect.missing)])
  }
  const isObject = typeof source === 'object' &&
    !(Array.isArray(source) && (source.length > 0 || !dialect.takesEmptyLists))
  if (!isObject) throw new ValidationFailure([dialect.render([place], printable(source), dialect.notAnObject(source))])
  const given: Readonly<Record<string, unknown>> = Array.isArray(source) ? {} : source as Record<string, unknown>
  const values: Record<string, unknown> = {}
  const details: ValidationDetail[] = []
  for (const [name, field] of Object.entries(model)) {
    if (!Object.hasOwn(given, name)) {
      if (field.required) details.push(dialect.render([place, name], given, dialect.missing))
      values[name] = copyOf(field.fallback)
      continue
    }
    values[name] = readField(dialect, field, given[name], [place, name], details)
  }
  if (details.length > 0) throw new ValidationFailure(details)
  // Python writes 7.0 for every declared float, also if the request has 7.
  for (const [name, { kind, isFallbackWhole }] of Object.entries(model)) {
    if (kind === 'number' && (isFallbackWhole !== true || Object.hasOwn(given, name))) noteFloat(values, name)
  }
  return values
}

function readField (
  dialect: Dialect, field: Field, given: unknown, location: readonly string[], details: ValidationDetail[]
): unknown {
  if (isUploadedImage(given) && (field.isImage === true || field.kind === 'any')) return given
  const value = isUploadedImage(given) ? String(given) : given
  const complain = (at: ReadonlyArray<string | number>, what: unknown, problem: Parameters<Dialect['render']>[2]): void => {
    details.push(dialect.render(at, what, problem))
  }
  if (value === null) {
    if (!field.nullable) complain(location, value, dialect.noneProblem(field.kind))
    return null
  }
  if (field.kind === 'any') return value
  if (field.kind === 'choice') {
    const choices = field.choices ?? []
    if (!choices.some(choice => choice === value)) complain(location, value, dialect.notAChoice(value, choices))
    return value
  }
  const outcome: Coercion = dialect.coerce(field.kind, value)
  if ('problem' in outcome) {
    complain(location, value, outcome.problem)
    return null
  }
  if (field.kind === 'strings') {
    return (outcome.value as unknown[]).map((item, index) => {
      const read: Coercion = item === null ? { problem: dialect.noneProblem('string') } : dialect.coerce('string', item)
      if ('value' in read) return read.value
      complain([...location, index], item, read.problem)
      return null
    })
  }
  const read = outcome.value
  if (typeof read === 'number' || typeof read === 'bigint') {
    const { kind, atLeast, above, atMost } = field
    if (atLeast !== undefined && read < atLeast) complain(location, value, dialect.tooSmall(atLeast, kind))
    if (above !== undefined && read <= above) complain(location, value, dialect.notAbove(above, kind))
    if (atMost !== undefined && read > atMost) complain(location, value, dialect.tooBig(atMost, kind))
  }
  return read
}

/** Lists and objects must not be shared between requests; other values can be. */
function copyOf (fallback: unknown): unknown {
  return typeof fallback === 'object' && fallback !== null ? structuredClone(fallback) : fallback
}

function printable (source: unknown): unknown {
  return typeof source === 'symbol' ? '' : source
}
