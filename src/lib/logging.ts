import type { Logger } from 'pino'

/** The part of a logger that the service uses; pino's fits. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error'>

/** An error as the log shows it. */
export interface LoggedError {
  readonly type: string
  readonly message: string
  readonly stack: string
  readonly code?: string | number
  readonly errno?: string | number
  readonly syscall?: string | number
  /** Of the file or socket that a system call failed on. */
  readonly path?: string | number
  readonly address?: string | number
  readonly port?: string | number
  readonly cause?: LoggedError
  readonly errors?: readonly LoggedError[]
}

/** All other properties of errors can hold clients' data: arguments of Redis, requests, answers. */
const facts = ['code', 'errno', 'syscall', 'path', 'address', 'port'] as const
const deepest = 5
const maxErrors = 8
const longestText = 8192

/** Quotations in messages that no log may keep: passwords and queries of addresses, credentials, clients' texts. */
const hidden: ReadonlyArray<readonly [RegExp, string]> = [
  [/:\/\/[^\s/@'"]*@/g, '://(hidden)@'],
  [/(https?:\/\/[^\s?#'"]*)\?[^\s'"]*/gi, '$1?(hidden)'],
  [/\b(bearer|basic)\s+[\w+/=.~-]{6,}/gi, '$1 (hidden)'],
  [/\bwhsec_[\w+/=-]+/g, 'whsec_(hidden)'],
  // Redis repeats arguments, and JSON.parse the text that it could not read.
  [/(with args beginning with:).*/gi, '$1 (hidden)'],
  [/(unexpected (?:non-whitespace character|token|end)[^"\n]{0,40})"[^\n]*(?= is not valid json)/gi, '$1(hidden)']
]

/**
 * Renders an error for the log, with its causes: the serializer of `err`. Nothing in it comes from a client or is a
 * secret.
 */
export function serializeError (error: unknown): LoggedError {
  return serialize(error, deepest)
}

function serialize (error: unknown, depth: number): LoggedError {
  if (!(error instanceof Error)) {
    return { type: error === null ? 'null' : typeof error, message: typeof error === 'string' ? clean(error) : '', stack: '' }
  }
  const known: Partial<Record<typeof facts[number], string | number>> = {}
  for (const name of facts) {
    const value = Reflect.get(error, name) as unknown
    if (typeof value === 'number') known[name] = value
    if (typeof value === 'string') known[name] = clean(value)
  }
  const more: Pick<LoggedError, 'cause' | 'errors'> = depth === 0 ? {} : causesOf(error, depth - 1)
  return { type: error.name, message: clean(error.message), stack: clean(error.stack ?? ''), ...known, ...more }
}

function causesOf (error: Error, depth: number): Pick<LoggedError, 'cause' | 'errors'> {
  return {
    ...(error.cause === undefined || error.cause === null ? {} : { cause: serialize(error.cause, depth) }),
    ...(error instanceof AggregateError
      ? { errors: (error.errors as unknown[]).slice(0, maxErrors).map(one => serialize(one, depth)) }
      : {})
  }
}

function clean (text: string): string {
  return hidden.reduce((cleaned, [pattern, put]) => cleaned.replace(pattern, put), text.slice(0, longestText))
}

/** Never in a log line: properties of the fields of a line, and headers of requests. */
const secretProperties = new Set(['password', 'secret'])
const secretHeaders = new Set(['authorization', 'cookie', 'x-api-key', 'x-api-secret', 'x-webhook-key'])

/**
 * The fields of a line without secrets, as pino's formatter. pino's own redaction reads each value of each line; nearly
 * all are texts and numbers, in which nothing can be.
 */
export function withoutSecrets (fields: Record<string, unknown>): Record<string, unknown> {
  for (const name of Object.keys(fields)) if (holdsSecret(fields[name])) return censored(fields)
  return fields
}

function isObject (value: unknown): value is Record<string, unknown> {
  // The serializer of errors keeps only facts.
  return typeof value === 'object' && value !== null && !(value instanceof Error)
}

function holdsSecret (value: unknown): boolean {
  if (!isObject(value)) return false
  return Object.keys(value).some(name => secretProperties.has(name)) || isObject(value.headers)
}

function censored (fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => {
    if (!holdsSecret(value)) return [name, value]
    const { headers, ...others } = value as Record<string, unknown>
    return [name, {
      ...hiding(others, secretProperties),
      ...(headers === undefined ? {} : { headers: isObject(headers) ? hiding(headers, secretHeaders) : headers })
    }]
  }))
}

function hiding (values: Readonly<Record<string, unknown>>, names: ReadonlySet<string>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, names.has(name) ? '(hidden)' : value]))
}
