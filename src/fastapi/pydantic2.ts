import { readInteger as readWholeNumber } from '../lib/seeds.ts'
import { noteFloat } from '../lib/exact-json.ts'
import type { Coercion, Dialect, FieldKind, Problem } from './model.ts'
import { locateJsonMistake } from './json-position.ts'

const names = {
  string: ['string_type', 'string'],
  integer: ['int_type', 'integer'],
  number: ['float_type', 'number'],
  boolean: ['bool_type', 'boolean'],
  object: ['dict_type', 'dictionary'],
  list: ['list_type', 'list'],
  strings: ['list_type', 'list'],
  choice: ['literal_error', 'choice'],
  any: ['none_forbidden', 'value']
} as const

const truths = new Map([
  ...['1', 'on', 't', 'true', 'y', 'yes'].map(word => [word, true] as const),
  ...['0', 'off', 'f', 'false', 'n', 'no'].map(word => [word, false] as const)
])

/** pydantic 2 (Forge): still reads numbers from text, but no longer truncates fractions. */
export const pydantic2: Dialect = {
  coerce: coerceStrictly,
  missing: { type: 'missing', msg: 'Field required' },
  notAnObject: () => ({
    type: 'model_attributes_type',
    msg: 'Input should be a valid dictionary or object to extract fields from'
  }),
  notADict: { type: 'dict_type', msg: 'Input should be a valid dictionary' },
  takesEmptyLists: false,
  noneProblem: kind => wrongType(kind),
  tooSmall: (limit, kind) => ({
    type: 'greater_than_equal', msg: `Input should be greater than or equal to ${limit}`, ctx: bound('ge', limit, kind)
  }),
  notAbove: (limit, kind) => ({
    type: 'greater_than', msg: `Input should be greater than ${limit}`, ctx: bound('gt', limit, kind)
  }),
  tooBig: (limit, kind) => ({
    type: 'less_than_equal', msg: `Input should be less than or equal to ${limit}`, ctx: bound('le', limit, kind)
  }),
  notAChoice (_value, choices) {
    const expected = [choices.slice(0, -1).join(', '), choices.at(-1)].join(' or ')
    return { type: 'literal_error', msg: `Input should be ${expected}`, ctx: { expected } }
  },
  badJson (body) {
    const { message, position } = locateJsonMistake(body)
    return {
      location: position, problem: { type: 'json_invalid', msg: 'JSON decode error', ctx: { error: message } }
    }
  },
  render (location, value, { type, msg, ctx }) {
    const isJson = type === 'json_invalid'
    const entry = { type, loc: location, msg, input: isJson ? {} : value ?? null, ...ctx && { ctx } }
    return isJson ? entry : { ...entry, url: `https://errors.pydantic.dev/2.8/v/${type}` }
  }
}

/** A bound of a float is a float too. */
function bound (name: string, limit: number | bigint, kind?: FieldKind): Record<string, unknown> {
  const ctx = { [name]: limit }
  if (kind === 'number') noteFloat(ctx, name)
  return ctx
}

function wrongType (kind: FieldKind): Problem {
  const [type, word] = names[kind]
  return { type, msg: `Input should be a valid ${word}` }
}

function coerceStrictly (kind: Exclude<FieldKind, 'any' | 'choice'>, value: unknown): Coercion {
  switch (kind) {
    case 'integer': return readInteger(value)
    case 'number': return readNumber(value)
    case 'string': return typeof value === 'string' ? { value } : { problem: wrongType(kind) }
    case 'boolean': return readBoolean(value)
    case 'object': {
      const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
      return isObject ? { value } : { problem: wrongType(kind) }
    }
    default: return Array.isArray(value) ? { value } : { problem: wrongType(kind) }
  }
}

function readInteger (value: unknown): Coercion {
  if (typeof value === 'boolean') return { value: Number(value) }
  if (typeof value === 'number') {
    if (Number.isInteger(value)) return { value }
    return { problem: { type: 'int_from_float', msg: 'Input should be a valid integer, got a number with a fractional part' } }
  }
  if (typeof value === 'bigint') return { value }
  if (typeof value !== 'string') return { problem: wrongType('integer') }
  if (/^\s*[+-]?\d+(\.0+)?\s*$/.test(value)) {
    const whole = readWholeNumber(value)
    if (whole !== undefined) return { value: whole }
  }
  return { problem: { type: 'int_parsing', msg: 'Input should be a valid integer, unable to parse string as an integer' } }
}

function readNumber (value: unknown): Coercion {
  if (['number', 'bigint', 'boolean'].includes(typeof value)) return { value: Number(value) }
  if (typeof value !== 'string') return { problem: wrongType('number') }
  if (value.trim() !== '' && Number.isFinite(Number(value))) return { value: Number(value) }
  return { problem: { type: 'float_parsing', msg: 'Input should be a valid number, unable to parse string as a number' } }
}

function readBoolean (value: unknown): Coercion {
  if (typeof value === 'boolean') return { value }
  if (value === 0 || value === 1) return { value: value === 1 }
  const truth = typeof value === 'string' ? truths.get(value.toLowerCase()) : undefined
  if (truth !== undefined) return { value: truth }
  const isReadable = typeof value === 'string' || typeof value === 'number'
  return {
    problem: isReadable
      ? { type: 'bool_parsing', msg: 'Input should be a valid boolean, unable to interpret input' }
      : wrongType('boolean')
  }
}
