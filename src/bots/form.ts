import { isRecord } from '../a1111/field-values.ts'
import { ValidationFailure } from '../fastapi/errors.ts'
import { pydantic2 } from '../fastapi/pydantic2.ts'
import { readInteger } from '../lib/seeds.ts'
import { validationDetail } from './read-fields.ts'

/** No valid form is nested deeper. */
const deepest = 32

/** The text is not a literal. */
class NoLiteral extends Error {}

/**
 * A value written as Python shows it: `{'enabled': True, 'model': 'canny', 'weight': 1.0}`. `requests` puts
 * dictionaries into forms this way. JSON reads the same.
 * @returns undefined for a text that is no literal, or holds more than one
 */
function readPythonLiteral (text: string): unknown {
  const reader = createReader(text)
  try {
    const value = reader.value(0)
    return reader.atEnd() ? value : undefined
  } catch (error) {
    if (error instanceof NoLiteral) return undefined
    throw error
  }
}

const words = new Map<string, unknown>([
  ['True', true], ['False', false], ['None', null], ['true', true], ['false', false], ['null', null]
])
const escapes: Readonly<Record<string, string>> = {
  n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', a: '\x07', 0: '\0', '\n': ''
}
const escapedCodes: Readonly<Record<string, RegExp>> = {
  x: /[0-9a-f]{2}/iy, u: /[0-9a-f]{4}/iy, U: /[0-9a-f]{8}/iy
}

function createReader (text: string) {
  let at = 0

  function take (pattern: RegExp): string | null {
    pattern.lastIndex = at
    const found = pattern.exec(text)?.[0] ?? null
    if (found !== null) at += found.length
    return found
  }

  const skipBlanks = () => take(/\s*/y)

  function takes (sign: string): boolean {
    skipBlanks()
    if (text[at] !== sign) return false
    at += 1
    return true
  }

  function expect (sign: string): void {
    if (!takes(sign)) throw new NoLiteral()
  }

  function value (depth: number): unknown {
    if (depth > deepest) throw new NoLiteral()
    skipBlanks()
    const sign = text[at]
    if (sign === '{') return dictionary(depth)
    if (sign === '[') return list('[', ']', depth)
    if (sign === '(') return list('(', ')', depth)
    if (sign === '"' || sign === '\'') return string()
    const number = take(/[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/iy)
    if (number !== null) return /^[+-]?\d+$/.test(number) ? readInteger(number) ?? Number(number) : Number(number)
    const word = take(/[A-Za-z]+/y)
    if (word === null || !words.has(word)) throw new NoLiteral()
    return words.get(word)
  }

  function dictionary (depth: number): Record<string, unknown> {
    expect('{')
    const entries: Array<[string, unknown]> = []
    while (!takes('}')) {
      const key = value(depth + 1)
      if (typeof key !== 'string' || key === '__proto__') throw new NoLiteral()
      expect(':')
      entries.push([key, value(depth + 1)])
      if (takes(',')) continue
      expect('}')
      break
    }
    return Object.fromEntries(entries)
  }

  function list (open: string, close: string, depth: number): unknown[] {
    expect(open)
    const items: unknown[] = []
    while (!takes(close)) {
      items.push(value(depth + 1))
      if (takes(',')) continue
      expect(close)
      break
    }
    return items
  }

  function string (): string {
    const quote = text[at] ?? ''
    at += 1
    let read = ''
    for (;;) {
      read += take(quote === '"' ? /[^"\\]*/y : /[^'\\]*/y) ?? ''
      const sign = text[at]
      at += 1
      if (sign === quote) return read
      if (sign !== '\\') throw new NoLiteral()
      read += escaped()
    }
  }

  function escaped (): string {
    const sign = text[at] ?? ''
    at += 1
    const code = escapedCodes[sign]
    if (code === undefined) return escapes[sign] ?? sign
    const digits = take(code)
    const point = digits === null ? NaN : Number.parseInt(digits, 16)
    if (!(point <= 0x10ffff)) throw new NoLiteral()
    return String.fromCodePoint(point)
  }

  return {
    value,
    atEnd () {
      skipBlanks()
      return at === text.length
    }
  }
}

type Fields = Record<string, unknown>

/** Parts of a form that can hold a file, and whether the name can repeat. */
export const botFiles: Readonly<Record<string, 'one' | 'many'>> = {
  image: 'many',
  images: 'many',
  mask: 'one',
  init_image: 'one',
  ...Object.fromEntries(Array.from({ length: 10 }, (_, index) =>
    [[`image${index}`, 'one'], [`image[${index}]`, 'one'], [`images[${index}]`, 'one']] as const).flat())
}

/** Fields that hold lists and objects, which a form can only carry as text. */
const structured = new Set([
  'controlnet_units', 'units', 'regional_config', 'loras', 'override_settings', 'alwayson_scripts', 'script_args', 'styles',
  'images', 'base_request', 'variations', 'axes', 'config', 'enhance',
  'metadata', 'webhookEvents', 'webhook_events'
])
const mayBeEmpty = new Set(['prompt', 'negative_prompt'])

/**
 * The values of a form, as a JSON client would send them: a part called `request` holds the fields as one JSON object,
 * and the other parts override it. Lists and objects can be JSON or Python; empty parts are ignored.
 * @throws ValidationFailure for a part `request` that is no object
 */
export function formFields (form: Fields): Fields {
  const { request, ...flat } = form
  const whole = request === '' ? {} : literal(request)
  if (request !== undefined && !isRecord(whole)) {
    throw new ValidationFailure([validationDetail(['body', 'request'], request, pydantic2.notAnObject(request))])
  }
  const given = Object.entries(flat).filter(([name, value]) => value !== '' || mayBeEmpty.has(name))
    .map(([name, value]) => [name, structured.has(name) ? structure(value) : value])
  return { ...(isRecord(whole) ? whole : {}), ...Object.fromEntries(given) as Fields }
}

/** Renames aliases to the usual field, one unit to a list of one, several images under one name to a list. */
export function withUsualNames ({ units, ...fields }: Fields): Fields {
  const renamed = Object.fromEntries(Object.entries(fields).map(([name, value]) =>
    [name.replace(/^images?\[(\d)\]$/, 'image$1'), value])) as Fields
  const { image, images, controlnet_units: own = units } = renamed
  const several = Array.isArray(image) ? image as unknown[] : []
  return {
    ...renamed,
    ...(several.length === 0 ? {} : { image: several[0] }),
    ...(several.length > 1 && images === undefined ? { images: several } : {}),
    ...(own === undefined ? {} : { controlnet_units: isRecord(own) ? [own] : own })
  }
}

/** A part can come once with the whole list, or once for each entry. */
function structure (value: unknown): unknown {
  if (!Array.isArray(value)) return literal(value)
  return (value as unknown[]).map(literal).flat()
}

function literal (value: unknown): unknown {
  if (typeof value !== 'string') return value
  const read = readPythonLiteral(value)
  return read === undefined ? value : read
}
