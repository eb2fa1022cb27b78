import { ServiceError } from './errors.ts'
import { parseJsonText } from './exact-json.ts'

const quote = 0x22
const backslash = 0x5c
const comma = 0x2c
/** Strings up to this length are walked; the rest of a longer one is skipped to the next quote. */
const walkedBytes = 64

/** Limits on size and depth of a JSON text. */
interface JsonBounds {
  readonly depth: number
  /** Brackets and commas together: about as many as there are values. */
  readonly values: number
}

/** Why a text exceeds its limits, and where; `position` counts bytes from 0. */
export interface JsonExcess {
  readonly kind: keyof JsonBounds
  readonly position: number
}

/**
 * Looks, before anything is parsed, whether a JSON text stays within its bounds: deep nesting and millions of values
 * hold up the event loop or end in stack overflows. Large strings cost next to nothing. Says nothing about whether the
 * text is JSON.
 */
function findJsonExcess (text: Uint8Array, bounds: JsonBounds): JsonExcess | null {
  let depth = 0
  let values = 0
  for (let position = 0; position < text.length; position++) {
    const byte = text[position]
    if (byte === quote) {
      position = endOfString(text, position + 1)
      continue
    }
    // [ and { as well as ] and } differ in one bit
    const letter = byte === undefined ? 0 : byte | 0x20
    if (letter === 0x7b) {
      if (++depth > bounds.depth) return { kind: 'depth', position }
    } else if (letter === 0x7d) depth--
    else if (byte !== comma) continue
    if (++values > bounds.values) return { kind: 'values', position }
  }
  return null
}

/** Index of the quote that ends the string which begins here; the text's length when none does. */
function endOfString (text: Uint8Array, start: number): number {
  let position = start
  let walked = 0
  while (position < text.length) {
    if (walked++ < walkedBytes) {
      if (text[position] === quote) return position
      position += text[position] === backslash ? 2 : 1
      continue
    }
    const found = text.indexOf(quote, position)
    if (found === -1) return text.length
    let before = found
    while (before > position && text[before - 1] === backslash) before--
    if ((found - before) % 2 === 0) return found
    position = found + 1
    walked = 0
  }
  return text.length
}

/** The fault of a text that is not JSON, and its position, which counts characters from 0. */
export interface JsonFault {
  readonly position: number
  readonly line: number
  readonly column: number
  /** In words, such as `a comma or ]`. */
  readonly expected: string
}

const words = {
  value: 'a value',
  'value or ]': 'a value or ]',
  'name or }': 'a name in double quotes or }',
  name: 'a name in double quotes',
  colon: 'a colon',
  'comma or }': 'a comma or }',
  'comma or ]': 'a comma or ]',
  end: 'the end of the text'
} as const

type Expected = keyof typeof words

const space = /[ \t\r\n]*/y
const scalar = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y

/**
 * The first position at which a text stops being JSON (RFC 8259); null for JSON. `JSON.parse` does not always report
 * it.
 */
export function findJsonFault (text: string): JsonFault | null {
  const open: Array<'}' | ']'> = []
  let expected: Expected = 'value'
  let position = 0

  const match = (pattern: RegExp) => {
    pattern.lastIndex = position
    return pattern.exec(text)?.[0].length ?? 0
  }
  const fault = (at: number, wanted: string): JsonFault => {
    const before = text.slice(0, at)
    const lineStart = before.lastIndexOf('\n') + 1
    return { position: at, line: before.split('\n').length, column: at - lineStart + 1, expected: wanted }
  }
  const afterValue = (): Expected => {
    const last = open.at(-1)
    return last === undefined ? 'end' : `comma or ${last}`
  }

  while (true) {
    position += match(space)
    const sign = text[position]
    if (sign === undefined) return expected === 'end' ? null : fault(position, words[expected])
    if (sign === '"' && (expected.startsWith('value') || expected.startsWith('name'))) {
      const string = stringAt(text, position)
      if (string.fault !== null) return fault(string.end, string.fault)
      position = string.end
      expected = expected.startsWith('name') ? 'colon' : afterValue()
    } else if (expected.startsWith('value') && (sign === '{' || sign === '[')) {
      open.push(sign === '{' ? '}' : ']')
      expected = sign === '{' ? 'name or }' : 'value or ]'
      position++
    } else if (expected.endsWith(` ${sign}`) && (sign === '}' || sign === ']')) {
      open.pop()
      expected = afterValue()
      position++
    } else if (sign === ',' && expected.startsWith('comma')) {
      expected = open.at(-1) === '}' ? 'name' : 'value'
      position++
    } else if (sign === ':' && expected === 'colon') {
      expected = 'value'
      position++
    } else {
      const length = expected.startsWith('value') ? match(scalar) : 0
      if (length === 0) return fault(position, words[expected])
      position += length
      expected = afterValue()
    }
  }
}

/** End of the string that begins here, or its fault and position. */
function stringAt (text: string, start: number): { end: number, fault: string | null } {
  let position = start + 1
  while (position < text.length) {
    const code = text.charCodeAt(position)
    if (code === 0x22) return { end: position + 1, fault: null }
    if (code < 0x20) return { end: position, fault: 'no raw control character inside a string; write \\n or \\u0000' }
    if (code === 0x5c) {
      escape.lastIndex = position
      const length = escape.exec(text)?.[0].length ?? 0
      if (length === 0) return { end: position, fault: 'an escape that JSON knows; a backslash itself is written \\\\' }
      position += length
    } else position++
  }
  return { end: position, fault: 'the quote that ends a string' }
}

/** No request needs more. */
export const requestBounds: JsonBounds = { depth: 64, values: 200_000 }

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/** A JSON text of which parts were put elsewhere while it arrived. */
export interface PartedJson {
  readonly bytes: Buffer
  /** The text as it came: its fault and position are found here. */
  whole (): string
  /** Whether something is wrong with a part that is elsewhere. */
  readonly broken: boolean
  /** Values of the parts, by the strings in their places. Such a string is random, so that no client knows it. */
  readonly parts: ReadonlyMap<string, object>
}

const noParts: PartedJson['parts'] = new Map()

/**
 * The value of an untrusted JSON text: nothing too deep, too many-valued or aimed at prototypes passes.
 * @param subject the text's name, as the first words of an error, such as `The body`
 * @param given UTF-8, with or without byte order mark
 * @throws ServiceError `malformed_request`
 */
export function parseJson (subject: string, given: Buffer | PartedJson, bounds: JsonBounds = requestBounds): unknown {
  const { bytes, whole, broken, parts } = Buffer.isBuffer(given)
    ? { bytes: given, whole: null, broken: false, parts: noParts }
    : given
  const plain = withoutMark(bytes)
  const excess = findJsonExcess(plain, bounds)
  if (excess !== null) {
    throw excess.kind === 'depth'
      ? tooDeep(subject, excess.position, bounds.depth)
      : malformed(`${subject} has more than ${bounds.values} values; send fewer at once.`)
  }
  const text = plain.toString('utf8')
  const value = broken ? undefined : valueOf(text)
  if (value === undefined) {
    const fault = findJsonFault(whole?.().replace(/^\ufeff/, '') ?? text)
    if (fault === null) throw malformed(`${subject} is not JSON.`)
    const { line, column, position, expected } = fault
    throw malformed(`${subject} is not JSON: expected ${expected} at line ${line}, column ${column}.`, {
      line, column, position
    })
  }
  const poisoned = findPoison(value)
  if (poisoned !== null) throw malformed(`${subject} has a field named ${poisoned}, which is not allowed; leave it out.`)
  if (parts.size > 0) insertParts(value, parts)
  return value
}

/** Puts each part into its place. The value as a whole is none. */
function insertParts (value: unknown, parts: PartedJson['parts']): void {
  const open = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next !== 'object' || next === null) continue
    for (const [name, inner] of Object.entries(next) as Array<[string, unknown]>) {
      const part = typeof inner === 'string' ? parts.get(inner) : undefined
      if (part !== undefined) Reflect.set(next, name, part)
      else if (typeof inner === 'object') open.push(inner)
    }
  }
}

/** @param position of the bracket that opens one level too many, in bytes from 0 */
export function tooDeep (subject: string, position: number, depth = requestBounds.depth): ServiceError {
  return malformed(`${subject} is nested deeper than ${depth} levels at byte ${position}; send it flatter.`)
}

function withoutMark (bytes: Buffer): Buffer {
  return bytes.subarray(0, 3).equals(byteOrderMark) ? bytes.subarray(3) : bytes
}

/** Undefined for a text that is no JSON. */
function valueOf (text: string): unknown {
  try {
    return parseJsonText(text)
  } catch {
    return undefined
  }
}

function malformed (sentence: string, details = {}): ServiceError {
  return new ServiceError('malformed_request', sentence, details)
}

/** A field through which merging objects would change properties of all objects. */
function findPoison (value: unknown): string | null {
  const open = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next !== 'object' || next === null) continue
    if (Object.hasOwn(next, '__proto__')) return '__proto__'
    const constructor: unknown = Object.hasOwn(next, 'constructor') ? Reflect.get(next, 'constructor') : null
    if (typeof constructor === 'object' && constructor !== null && Object.hasOwn(constructor, 'prototype')) {
      return 'constructor.prototype'
    }
    for (const inner of Object.values(next)) {
      if (typeof inner === 'object') open.push(inner)
    }
  }
  return null
}
