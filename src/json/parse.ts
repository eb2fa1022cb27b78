import { parseJsonText } from '../lib/exact-json.ts'
import { ServiceError } from '../errors.ts'
import { findJsonExcess, type JsonBounds } from './bounds.ts'
import { findJsonFault } from './fault.ts'

/** What no request needs more of. */
export const requestBounds: JsonBounds = { depth: 64, values: 200_000 }

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * The value of a JSON text that strangers sent: nothing too deep, too many-valued or aimed at prototypes comes through.
 * @param subject what the text is, as the first words of an error, such as `The body`
 * @param bytes UTF-8, with or without byte order mark
 * @throws ServiceError `malformed_request`
 */
export function parseJson (subject: string, bytes: Buffer, bounds: JsonBounds = requestBounds): unknown {
  const marked = bytes.subarray(0, 3).equals(byteOrderMark)
  const plain = marked ? bytes.subarray(3) : bytes
  const excess = findJsonExcess(plain, bounds)
  if (excess !== null) {
    throw malformed(excess.kind === 'depth'
      ? `${subject} is nested deeper than ${bounds.depth} levels at byte ${excess.position}; send it flatter.`
      : `${subject} holds more than ${bounds.values} values; send less at once.`)
  }
  const text = plain.toString('utf8')
  let value: unknown
  try {
    value = parseJsonText(text)
  } catch (error) {
    const fault = findJsonFault(text)
    if (fault === null) throw error
    const { line, column, position, expected } = fault
    throw malformed(`${subject} is not JSON: expected ${expected} at line ${line}, column ${column}.`, {
      line, column, position
    })
  }
  const poisoned = findPoison(value)
  if (poisoned !== null) throw malformed(`${subject} has a field named ${poisoned}, which is not allowed; leave it out.`)
  return value
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
