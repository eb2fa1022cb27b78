import { parseJsonText } from '../lib/exact-json.ts'
import { ServiceError } from '../errors.ts'
import { findJsonExcess, type JsonBounds } from './bounds.ts'
import { findJsonFault } from './fault.ts'

/** What no request needs more of. */
export const requestBounds: JsonBounds = { depth: 64, values: 200_000 }

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/** A JSON text of which parts were put elsewhere while it arrived. */
export interface PartedJson {
  readonly bytes: Buffer
  /** The text as long as it came: what is wrong with it, and where, is found here. */
  whole (): string
  /** Whether something is wrong with a part that is elsewhere. */
  readonly broken: boolean
}

/**
 * The value of a JSON text that strangers sent: nothing too deep, too many-valued or aimed at prototypes comes through.
 * @param subject what the text is, as the first words of an error, such as `The body`
 * @param given UTF-8, with or without byte order mark
 * @throws ServiceError `malformed_request`
 */
export function parseJson (subject: string, given: Buffer | PartedJson, bounds: JsonBounds = requestBounds): unknown {
  const { bytes, whole, broken } = Buffer.isBuffer(given) ? { bytes: given, whole: null, broken: false } : given
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
  return value
}

/** @param position of the bracket that opens one level too many, in bytes from 0 */
export function tooDeep (subject: string, position: number, depth = requestBounds.depth): ServiceError {
  return malformed(`${subject} is nested deeper than ${depth} levels at byte ${position}; send it flatter.`)
}

function withoutMark (bytes: Buffer): Buffer {
  return bytes.subarray(0, 3).equals(byteOrderMark) ? bytes.subarray(3) : bytes
}

/** Undefined for what is no JSON. */
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

/** A field through which merging objects would change what all objects share. */
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
