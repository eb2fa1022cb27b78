import { readInteger as readWholeNumber } from '../lib/seeds.ts'
import type { Coercion, Dialect, FieldKind, Problem } from './model.ts'
import { locateJsonMistake } from './json-position.ts'

const integer: Problem = { type: 'type_error.integer', msg: 'value is not a valid integer' }
const number: Problem = { type: 'type_error.float', msg: 'value is not a valid float' }
const text: Problem = { type: 'type_error.str', msg: 'str type expected' }
const boolean: Problem = { type: 'type_error.bool', msg: 'value could not be parsed to a boolean' }
const dict: Problem = { type: 'type_error.dict', msg: 'value is not a valid dict' }
const list: Problem = { type: 'type_error.list', msg: 'value is not a valid list' }

const truths = new Map<unknown, boolean>([
  [true, true], [false, false], [1, true], [0, false],
  ...['1', 'on', 't', 'true', 'y', 'yes'].map(word => [word, true] as const),
  ...['0', 'off', 'f', 'false', 'n', 'no'].map(word => [word, false] as const)
])

/** pydantic 1 (A1111): converts every value that it can, so that "20" and 20.5 are both 20 steps. */
export const pydantic1: Dialect = {
  coerce: coerceLeniently,
  missing: { type: 'value_error.missing', msg: 'field required' },
  notAnObject: () => dict,
  notADict: dict,
  takesEmptyLists: true,
  noneProblem: () => ({ type: 'type_error.none.not_allowed', msg: 'none is not an allowed value' }),
  tooSmall: limit => bound('not_ge', `greater than or equal to ${limit}`, limit),
  notAbove: limit => bound('not_gt', `greater than ${limit}`, limit),
  tooBig: limit => bound('not_le', `less than or equal to ${limit}`, limit),
  notAChoice: (value, choices) => ({
    type: 'value_error.const',
    msg: `unexpected value; permitted: ${choices.join(', ')}`,
    ctx: { given: value, permitted: choices }
  }),
  badJson (body) {
    const { message, position, line, column } = locateJsonMistake(body)
    return {
      location: position,
      problem: {
        type: 'value_error.jsondecode',
        msg: `${message}: line ${line} column ${column} (char ${position})`,
        ctx: { msg: message, doc: body, pos: position, lineno: line, colno: column }
      }
    }
  },
  render: (location, _value, { type, msg, ctx }) => ({ loc: location, msg, type, ...ctx && { ctx } })
}

function bound (kind: string, words: string, limit: number | bigint): Problem {
  return { type: `value_error.number.${kind}`, msg: `ensure this value is ${words}`, ctx: { limit_value: limit } }
}

function coerceLeniently (kind: Exclude<FieldKind, 'any' | 'choice'>, value: unknown): Coercion {
  switch (kind) {
    case 'integer': return readInteger(value)
    case 'number': return readNumber(value)
    case 'string': return readText(value)
    case 'boolean': {
      const truth = truths.get(typeof value === 'string' ? value.toLowerCase() : value)
      return truth === undefined ? { problem: boolean } : { value: truth }
    }
    case 'object':
      if (Array.isArray(value) && value.length === 0) return { value: {} }
      return typeof value === 'object' && !Array.isArray(value) ? { value } : { problem: dict }
    default: return Array.isArray(value) ? { value } : { problem: list }
  }
}

function readInteger (value: unknown): Coercion {
  if (typeof value === 'number' && Number.isFinite(value)) return { value: Math.trunc(value) }
  if (typeof value === 'boolean') return { value: Number(value) }
  if (typeof value === 'bigint') return { value }
  if (typeof value === 'string' && /^\s*[+-]?\d+(_\d+)*\s*$/.test(value)) return wholeNumber(value.replaceAll('_', ''))
  return { problem: integer }
}

/** Python's integers are unbounded; text can have 4300 digits. */
function wholeNumber (digits: string): Coercion {
  const value = readWholeNumber(digits)
  return value === undefined ? { problem: integer } : { value }
}

function readNumber (value: unknown): Coercion {
  if (typeof value === 'number') return { value }
  if (typeof value === 'bigint') return { value: Number(value) }
  if (typeof value === 'boolean') return { value: Number(value) }
  const isNumber = typeof value === 'string' && /^\s*[+-]?(\d+(?:\.\d*)?|\.\d+)(e[+-]?\d+)?\s*$/i.test(value)
  return isNumber ? { value: Number(value) } : { problem: number }
}

function readText (value: unknown): Coercion {
  if (typeof value === 'string') return { value }
  if (typeof value === 'number' || typeof value === 'bigint') return { value: String(value) }
  if (typeof value === 'boolean') return { value: value ? 'True' : 'False' }
  return { problem: text }
}
