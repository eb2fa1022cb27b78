/** A Python exception inside a handler: status 500 with the name of its class. */
export class PythonError extends Error {
  override readonly name = 'PythonError'
  readonly className: string

  constructor (className: string, message: string) {
    super(message)
    this.className = className
  }
}

/** Python's error for a function call without these arguments. */
export function missingArguments (name: string, missing: readonly string[]): PythonError {
  const quoted = missing.map(one => `'${one}'`)
  const last = quoted.at(-1) ?? ''
  const listed = quoted.length > 2 ? `${quoted.slice(0, -1).join(', ')}, and ${last}` : quoted.join(' and ')
  const plural = quoted.length === 1 ? '' : 's'
  return new PythonError('TypeError', `${name}() missing ${quoted.length} required positional argument${plural}: ${listed}`)
}

/** FastAPI's HTTPException: a status chosen by the handler. */
export class HttpException extends Error {
  override readonly name = 'HttpException'
  readonly status: number

  constructor (status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

/** One entry of the `detail` list of a 422, in the shape of the flavour's pydantic. */
export type ValidationDetail = Readonly<Record<string, unknown>>

/** The request does not fit its model. */
export class ValidationFailure extends Error {
  override readonly name = 'ValidationFailure'
  readonly details: readonly ValidationDetail[]

  constructor (details: readonly ValidationDetail[]) {
    super('the request does not fit its model')
    this.details = details
  }
}

/** The simulated server process died during the request: no client gets an answer. */
export class ProcessDied extends Error {
  override readonly name = 'ProcessDied'

  constructor () {
    super('the simulated server server died')
  }
}

interface ErrorAnswer {
  readonly status: number
  readonly body: unknown
  readonly headers: Readonly<Record<string, string>>
  /** Whether the exception passed A1111's timing middleware, which then adds no X-Process-Time. */
  readonly isTimed: boolean
}

/** Errors in the words of A1111's own middleware: always the same four keys, except for 422. */
export function renderA1111Error (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: true }
  }
  if (error instanceof HttpException) {
    const body = { error: 'HTTPException', detail: error.message, body: '', errors: '' }
    return { status: error.status, body, headers: {}, isTimed: true }
  }
  const { className, message } = asPythonError(error)
  return { status: 500, body: { error: className, detail: '', body: '', errors: message }, headers: {}, isTimed: false }
}

/** An error of the simulator itself also looks like one of A1111's. */
function asPythonError (error: unknown): { className: string, message: string } {
  if (error instanceof PythonError) return error
  return { className: 'Exception', message: error instanceof Error ? error.message : String(error) }
}

/** Errors in Forge's words: FastAPI's own for HTTPException, a `message` instead of `errors` for the rest. */
export function renderForgeError (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: false }
  }
  if (error instanceof HttpException) {
    const headers: Record<string, string> = error.status === 401 ? { 'www-authenticate': 'Basic' } : {}
    return { status: error.status, body: { detail: error.message }, headers, isTimed: false }
  }
  const { className, message } = asPythonError(error)
  return { status: 500, body: { error: className, detail: '', body: '', message }, headers: {}, isTimed: false }
}

/** Errors in the words of sd.cpp's server. */
export function renderSdcppError (error: unknown): ErrorAnswer {
  const message = error instanceof Error ? error.message : String(error)
  if (error instanceof HttpException) {
    return { status: error.status, body: { error: message }, headers: {}, isTimed: false }
  }
  return { status: 500, body: { error: 'server_error', message }, headers: {}, isTimed: false }
}

/** Errors in SD.Next's words: A1111's keys including the status, and a TypeError as text only. */
export function renderSdnextError (error: unknown): ErrorAnswer {
  if (error instanceof ValidationFailure) {
    return { status: 422, body: { detail: error.details }, headers: {}, isTimed: true }
  }
  if (error instanceof HttpException) {
    const { status, message } = error
    const body = { error: 'HTTPException', code: status, detail: message, body: '', errors: `${status}: ${message}` }
    return { status, body, headers: {}, isTimed: true }
  }
  const { className, message } = asPythonError(error)
  if (className === 'TypeError') return { status: 500, body: message, headers: {}, isTimed: false }
  return { status: 500, body: { error: className, code: 500, detail: '', body: '', errors: message }, headers: {}, isTimed: false }
}
