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
