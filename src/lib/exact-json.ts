import { randomBytes } from 'node:crypto'

/**
 * JSON whose whole numbers keep all their digits. `JSON.parse` and `JSON.stringify` know only doubles, which hold
 * integers exactly up to 2^53, but seeds have 64 bits and ids of chat services nearly as many. Here such an integer is
 * a bigint, and any other number stays a number. Texts without a long number take the built-in way. A list beside the
 * value remembers which whole numbers had a point, for servers in Python that distinguish 7.0 from 7.
 * Not a library: their parsers are a good deal slower, and differ from `JSON.parse` in duplicate and `__proto__` names.
 * When our oldest Node has source text access (22), the reviver's `context.source` and `JSON.rawJSON` replace this.
 */

/** Precedes the digits while they pass through the built-in functions as text; nothing outside can know it. */
const mark = `integer ${randomBytes(16).toString('hex')} `
const marked = new RegExp(`"${mark}(-?\\d+(?:\\.0)?)"`, 'g')
/** The quote that begins a string, a whole number with a point, or an integer of as many digits as may be too many. */
const quoteOrSpecial = /"|-?(?:0|[1-9]\d{0,14})\.0{1,17}(?![\d.eE])|-?[1-9]\d{15,}/g
const quoteOrNoNumber = /"|-?(?:NaN|Infinity)(?!\w)/g
const behindInteger = /\s*:/y
const specialNumber = /\d{16}|\d\.0/
/** A longer text is mostly images, which are skipped faster than searched. In characters. */
const searchedWhole = 65_536

/** Names in an object, or positions in a list, of whole numbers that are floats, as Python distinguishes 7.0 from 7. */
const floats = new WeakMap<object, Set<string>>()

let exact = false
let met = false

// Without this a bigint ends every JSON.stringify in a TypeError. Code that forgets `stringifyJson` loses digits.
Reflect.defineProperty(BigInt.prototype, 'toJSON', {
  configurable: true,
  writable: true,
  value (this: bigint) {
    met = true
    return exact ? `${mark}${this}` : Number(this)
  }
})

/** The integer as a number where that is exact, else as it is. */
export function narrowInteger (value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

/** @throws SyntaxError as `JSON.parse` */
export function parseJsonText (text: string): unknown {
  const quoted = text.length > searchedWhole || specialNumber.test(text) ? withSpecialNumbersQuoted(text) : text
  const value: unknown = JSON.parse(quoted)
  if (quoted === text) return value
  // By hand: a reviver costs twice as much.
  const root = { value }
  readMarked(root, 'value')
  return root.value
}

/** Puts the numbers in place of their marked texts, here and below. */
function readMarked (holder: object, name: string | number): void {
  const value: unknown = Reflect.get(holder, name)
  if (typeof value === 'object' && value !== null) {
    if (Array.isArray(value)) for (let index = 0; index < value.length; index++) readMarked(value, index)
    else for (const key of Object.keys(value)) readMarked(value, key)
  } else if (typeof value === 'string' && value.startsWith(mark)) {
    const token = value.slice(mark.length)
    const isFloat = token.includes('.')
    if (isFloat) noteFloat(holder, name)
    // A member can have the name `__proto__`.
    const number = isFloat ? Number(token) : BigInt(token)
    Object.defineProperty(holder, name, { value: number, writable: true, enumerable: true, configurable: true })
  }
}

/** Remembers that this number is a float, for `stringifyKeepingFloats`; a copy of the object forgets it. */
export function noteFloat (holder: object, name: string | number): void {
  const names = floats.get(holder)
  if (names === undefined) floats.set(holder, new Set([String(name)]))
  else names.add(String(name))
}

/** The copy, in which the same numbers are floats as in the original. */
export function withFloatsOf<Copy extends object> (original: object, copy: Copy): Copy {
  for (const name of floats.get(original) ?? []) noteFloat(copy, name)
  return copy
}

/** As `stringifyJson`, with `.0` behind each whole number that came, or was noted, as a float. */
export function stringifyKeepingFloats (
  value: unknown, replacer: (name: string, value: unknown) => unknown = unchanged
): string {
  // A call for each value costs several times the rest.
  if (replacer === unchanged && !hasFloats(value)) return stringifyJson(value)
  return withExactIntegers(() => JSON.stringify(value, function (this: object, name, given: unknown) {
    const one = replacer(name, given)
    if (typeof one !== 'number' || !Number.isSafeInteger(one) || floats.get(this)?.has(name) !== true) return one
    met = true
    return `${mark}${one}.0`
  }))
}

const unchanged = (_name: string, value: unknown): unknown => value

function hasFloats (value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (floats.has(value)) return true
  for (const one of Object.values(value)) if (typeof one === 'object' && hasFloats(one)) return true
  return false
}

/**
 * The value of JSON as Python writes it: a bare `NaN` or `Infinity`, which is no JSON, is null.
 * @throws SyntaxError as `JSON.parse`
 */
export function parsePythonJson (text: string): unknown {
  try {
    return parseJsonText(text)
  } catch (error) {
    const finite = replacedOutsideStrings(text, quoteOrNoNumber, () => 'null')
    if (finite === text) throw error
    return parseJsonText(finite)
  }
}

export function stringifyJson (
  value: unknown, replacer?: ((name: string, value: unknown) => unknown) | null, space?: number
): string {
  return withExactIntegers(() => JSON.stringify(value, replacer ?? undefined, space))
}

/** The text that `write` makes with `JSON.stringify` at its bottom, every bigint as its digits. */
export function withExactIntegers (write: () => string): string {
  exact = true
  met = false
  try {
    const text = write()
    return met ? text.replace(marked, '$1') : text
  } finally {
    exact = false
  }
}

function withSpecialNumbersQuoted (text: string): string {
  return replacedOutsideStrings(text, quoteOrSpecial, (token, start, end) => {
    // a part of a fraction or of an exponent, or no JSON
    if (/[\d.eE+]/.test(text[start - 1] ?? '') || /[.eE]/.test(text[end] ?? '')) return token
    behindInteger.lastIndex = end
    // numbers are no names
    if (behindInteger.test(text)) return token
    if (!token.includes('.') && Number.isSafeInteger(Number(token))) return token
    return `"${mark}${token}"`
  })
}

/**
 * The text with each match that stands in no string replaced.
 * @param pattern global; matches a quote too
 */
function replacedOutsideStrings (
  text: string, pattern: RegExp, replace: (token: string, start: number, end: number) => string
): string {
  const parts: string[] = []
  let kept = 0
  pattern.lastIndex = 0
  for (let found = pattern.exec(text); found !== null; found = pattern.exec(text)) {
    const [token] = found
    if (token === '"') {
      pattern.lastIndex = endOfString(text, found.index + 1)
      continue
    }
    const end = found.index + token.length
    const other = replace(token, found.index, end)
    if (other === token) continue
    parts.push(text.slice(kept, found.index), other)
    kept = end
  }
  return parts.length === 0 ? text : parts.join('') + text.slice(kept)
}

/** Index behind the quote that ends the string whose content begins here. */
function endOfString (text: string, start: number): number {
  let from = start
  for (;;) {
    const quote = text.indexOf('"', from)
    if (quote === -1) return text.length
    let before = quote
    while (before > from && text[before - 1] === '\\') before--
    if ((quote - before) % 2 === 0) return quote + 1
    from = quote + 1
  }
}
