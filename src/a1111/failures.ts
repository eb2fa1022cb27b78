import { parsePythonJson } from '../lib/exact-json.ts'
import { exhaustionOf } from '../lib/http/client.ts'
import { fieldsOf, type JsonObject, objectOf, textOf } from '../lib/json-values.ts'
import { type FailureClass, GenerationFailure } from './types.ts'

/** The error that an A1111-like server reports. */
export interface ServerError {
  /** Python's class of the exception; null if the server named none. */
  readonly className: string | null
  /** Its message in a line or two, without a closing full stop. */
  readonly message: string
}

const longestMessage = 500
const longestList = 5

/**
 * Reads an error body in any of the known shapes: A1111's `{error, detail, body, errors}`, Forge's `{error, detail,
 * body, message}`, FastAPI's `{detail}` with a sentence or pydantic's list, sd.cpp's `{error, message}`, and SD.Next's
 * bare text.
 *
 * @returns null if the text is none of these
 */
function readServerError (text: string): ServerError | null {
  let body: unknown
  try {
    body = parsePythonJson(text)
  } catch {
    return null
  }
  // SD.Next reports some errors as text only.
  if (typeof body === 'string' && body.trim() !== '') return { className: null, message: tidy(body) }
  const fields = objectOf(body)
  return fields === null ? null : serverErrorOf(fields)
}

/** The error in an already parsed object, in the same shapes. */
export function serverErrorOf (body: JsonObject): ServerError | null {
  const { error, detail, errors, message } = body
  const isClass = typeof error === 'string' && /^[A-Za-z_][\w.]*$/.test(error)
  const className = isClass && error !== 'HTTPException' ? error : null
  if (Array.isArray(detail)) return { className, message: sentenceOfList(detail) }
  const texts = [detail, errors, message, error]
  const found = texts.find((value): value is string => typeof value === 'string' && value.trim() !== '')
  return found === undefined ? null : { className, message: tidy(found) }
}

/** Rules for status 500, in this order; the first match decides. Sources: A1111 1.10.1, Forge, torch. */
const rules: ReadonlyArray<{
  readonly names?: RegExp
  readonly words?: RegExp
  readonly failureClass: FailureClass
  readonly code: string
  readonly sentence: (said: string) => string
}> = [
  {
    // after these every kernel launch of the process fails until it is restarted
    words: /illegal memory access|device-side assert|unspecified launch failure|misaligned address|illegal instruction|uncorrectable ECC|GPU is lost/i,
    failureClass: 'server-down',
    code: 'cuda_poisoned',
    sentence: said => `The server's GPU process is broken and needs a restart: ${said}.`
  },
  {
    names: /^(torch\.)?(cuda\.)?OutOfMemoryError$|^MemoryError$/,
    words: /out of memory|can't allocate memory|not enough memory|CUBLAS_STATUS_ALLOC_FAILED/i,
    failureClass: 'out-of-memory',
    code: 'out_of_memory',
    sentence: said => `The server ran out of memory: ${said}.`
  },
  {
    names: /^NansException$/,
    failureClass: 'request',
    code: 'nan',
    sentence: said => `The checkpoint produced invalid numbers (NaN): ${said}.`
  },
  {
    names: /^(ZeroDivisionError|IndexError|AssertionError|TypeError|KeyError|ValueError|AttributeError|NameError|UnboundLocalError|UnidentifiedImageError|DecompressionBombError)$/,
    // RuntimeError and Exception can mean anything; these messages of theirs follow only from the request
    words: /invalid encoded image|could not find (upscaler|checkpoint)|bad number of images|negative dimension|must be non-negative|no elements|unpacking long|expected \dd|shapes? .*(invalid|cannot be multiplied|must match)|cannot reshape|sizes? of tensors?|given groups=\d|expected input.*channels|kernel size can't be greater|did not find .+ in prompt/i,
    failureClass: 'request',
    code: 'request_failed',
    sentence: said => `The server cannot generate this request: ${said}.`
  }
]

/** The failure of a status 500: "retry" would be wrong for most of them, so each known one is named. */
function classifyServerError (said: ServerError | null, status: number): GenerationFailure {
  if (said === null) {
    return new GenerationFailure('passing', 'server_error', `The server failed without saying why (status ${status}).`)
  }
  const words = said.className === null ? said.message : `${said.className}: ${said.message}`
  const rule = rules.find(({ names, words: pattern }) =>
    (said.className !== null && names?.test(said.className) === true) || pattern?.test(said.message) === true)
  if (rule !== undefined) return new GenerationFailure(rule.failureClass, rule.code, rule.sentence(words))
  if (said.className === null) {
    // an HTTPException: A1111's own words about the request
    return new GenerationFailure('request', 'request_failed', `The server cannot generate this request: ${words}.`)
  }
  return new GenerationFailure('passing', 'server_error', `The server failed: ${words}.`)
}

/** Pydantic's list of complaints as one line: `steps: value is not a valid integer; width: …`. */
function sentenceOfList (list: readonly unknown[]): string {
  const complaints = list.slice(0, longestList).map(entry => {
    const { loc, msg, type } = fieldsOf(entry)
    const location = Array.isArray(loc) ? loc.filter((part, index) => index > 0 || part !== 'body') : []
    const isJson = type === 'value_error.jsondecode' || type === 'json_invalid'
    const field = isJson || location.length === 0 ? 'body' : location.join('.')
    return `${field}: ${textOf(msg) ?? 'invalid value'}`
  })
  const more = list.length > longestList ? `; and ${list.length - longestList} more` : ''
  return tidy(complaints.join('; ') + more)
}

/** Without stack traces, control characters, a closing full stop, and more than a few lines' worth of text. */
function tidy (text: string): string {
  const [before = ''] = text.split(/Traceback \(most recent call last\)|\n[^\S\n]+at |\n[^\S\n]*File "/, 1)
  const line = before.replace(/[\s\p{Cc}]+/gu, ' ').trim().replace(/\.$/, '')
  if (line === '') return 'no further words'
  return line.length > longestMessage ? `${line.slice(0, longestMessage)}…` : line
}

/**
 * How far a call has come. `connecting`: the server has nothing of it yet. `waiting`: the request is on its
 * way or there. `answering`: the status line is in; A1111 sends it only when the generation is over.
 */
export type CallPhase = 'connecting' | 'waiting' | 'answering'

const connectFailures: Readonly<Record<string, readonly [code: string, sentence: string]>> = {
  ECONNREFUSED: ['connection_refused', 'Nothing listens at the server\'s address; is A1111 running with --api?'],
  ENOTFOUND: ['host_not_found', 'The server\'s host name is not known.'],
  EAI_AGAIN: ['host_not_found', 'The server\'s host name could not be looked up.'],
  EHOSTUNREACH: ['host_unreachable', 'The server\'s host cannot be reached.'],
  ENETUNREACH: ['host_unreachable', 'The server\'s network cannot be reached.'],
  ETIMEDOUT: ['connect_timeout', 'The server\'s host did not accept the connection in time.'],
  UND_ERR_CONNECT_TIMEOUT: ['connect_timeout', 'The server\'s host did not accept the connection in time.']
}

const giveItsCa = 'Give that certificate in PEM as ca of the server, or set its tls_verify to false.'

/** Each says what is wrong with the certificate, and how to fix it. */
const certificateFailures: Readonly<Record<string, readonly [code: string, sentence: string]>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: ['certificate_self_signed',
    `The server's certificate is self-signed. ${giveItsCa}`],
  SELF_SIGNED_CERT_IN_CHAIN: ['certificate_unknown_issuer',
    'The server\'s certificate comes from an unknown private authority. Set the certificate of that ' +
    'authority in PEM as ca of the server, or set its tls_verify to false.'],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['certificate_unknown_issuer',
    'The server\'s certificate comes from an unknown authority, such as a private one. Set the ' +
    'certificate of that authority in PEM as ca of the server, or set its tls_verify to false.'],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['certificate_unverified',
    'The server\'s certificate leads to no known authority: either it comes from a private authority, ' +
    'whose certificate you can set in PEM as ca of the server, or the server does not send the intermediate ' +
    'certificate that issued it, and has to be made to send its full chain.'],
  CERT_HAS_EXPIRED: ['certificate_expired',
    'The server\'s certificate has expired; renew it there, or look at the clock of this machine.'],
  CERT_NOT_YET_VALID: ['certificate_not_yet_valid',
    'The server\'s certificate is not valid yet; look at the clocks of both machines.'],
  ERR_TLS_CERT_ALTNAME_INVALID: ['certificate_wrong_host',
    'The server\'s certificate is for another host name; register the server under a name that its certificate has, ' +
    'or have a certificate made for this one.'],
  CERT_REVOKED: ['certificate_revoked', 'The server\'s certificate was revoked; it needs another one.']
}
const sameAs: Readonly<Record<string, string>> = { UNABLE_TO_GET_ISSUER_CERT: 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY' }

/** TLS errors for an answer that is not TLS. */
const notTls = /^(EPROTO|ERR_SSL_(WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|UNSUPPORTED_PROTOCOL|BAD_RECORD_TYPE))$/

/**
 * The failure behind an error of the connection.
 *
 * A connection that breaks while a generation runs is the server's fault (`server-down`, `connection_lost`), not a
 * temporary one: its process or the network died, so the server is probed before anything more is sent to it, and the
 * job loses no attempt. `mayBeRunning` is true, since A1111 continues after a lost connection. A break within the
 * answer costs an attempt (`passing`, `truncated_answer`): the generation is over by then.
 */
export function connectionFailure (error: unknown, phase: CallPhase): GenerationFailure {
  if (error instanceof GenerationFailure) return error
  const cause = codeOf(error)
  const exhaustion = phase === 'connecting' ? exhaustionOf(error) : null
  if (exhaustion !== null) {
    return new GenerationFailure('internal', 'out_of_handles',
      `This machine can open no further connection (${exhaustion}); raise its limits, such as ulimit -n.`, { cause: error })
  }
  if (phase === 'answering') return truncatedAnswer({ cause: error })
  if (cause.startsWith('HPE_') || cause === 'UND_ERR_HEADERS_OVERFLOW' || isParserError(error)) {
    return new GenerationFailure('server-down', 'not_http', 'What listens at the server\'s address does not speak HTTP.',
      { cause: error, mayBeRunning: false })
  }
  if (cause === 'ERR_ADDRESS_NOT_ALLOWED' && error instanceof Error) {
    return new GenerationFailure('server-down', 'address_not_allowed', error.message, { cause: error })
  }
  if (phase === 'connecting') {
    const known = connectFailures[cause]
    if (known !== undefined) return new GenerationFailure('server-down', known[0], known[1], { cause: error })
    const certificate = certificateFailures[sameAs[cause] ?? cause]
    if (certificate !== undefined) {
      return new GenerationFailure('server-down', certificate[0], certificate[1], { cause: error })
    }
    if (notTls.test(cause)) {
      return new GenerationFailure('server-down', 'not_https',
        'What listens at the server\'s https address speaks no TLS; if it is plain http, register it as http://.', { cause: error })
    }
    if (/CERT|TLS|SSL/.test(cause)) {
      return new GenerationFailure('server-down', 'tls_error', `No secure connection to the server (${cause}).`,
        { cause: error })
    }
  }
  return new GenerationFailure('server-down', 'connection_lost', 'The connection to the server was lost before it answered.',
    { cause: error, mayBeRunning: phase === 'waiting' })
}

/** The job's deadline passed; A1111 continues to generate if the request had reached it. */
export function deadlinePassed (phase: CallPhase): GenerationFailure {
  return new GenerationFailure('timeout', 'deadline_passed', 'The server did not finish the generation in time.',
    { mayBeRunning: phase === 'waiting' })
}

/** A small call took too long: a server whose threads are all blocked, or that hangs. */
export function slowAnswer (timeoutMs: number): GenerationFailure {
  return new GenerationFailure('server-down', 'answer_timeout', `The server gave no answer within ${timeoutMs} ms.`)
}

/** Our own signal aborted the call. */
export function callCancelled (phase: CallPhase): GenerationFailure {
  return new GenerationFailure('cancelled', 'cancelled', 'The call was cancelled.', { mayBeRunning: phase === 'waiting' })
}

/** The client was closed during the call. */
export function clientClosed (phase: CallPhase): GenerationFailure {
  return new GenerationFailure('cancelled', 'client_closed', 'The connection to the server was closed by this service.',
    { mayBeRunning: phase === 'waiting' })
}

export function truncatedAnswer (options: ErrorOptions = {}): GenerationFailure {
  return new GenerationFailure('passing', 'truncated_answer', 'The server\'s answer broke off.', options)
}

/** An HTML page, whatever its status: a proxy in front of the server answers instead of it. */
export function htmlAnswer (status: number): GenerationFailure {
  return new GenerationFailure('server-down', 'bad_gateway', `A web page arrived instead of the server's answer (status ${status}); is a proxy in front of it?`,
    { mayBeRunning: isGatewayTimeout(status) })
}

export function notJson (options: ErrorOptions = {}): GenerationFailure {
  return new GenerationFailure('bad-answer', 'not_json', 'The server\'s answer is not valid JSON.', options)
}

export function answerTooLarge (maxBytes: number): GenerationFailure {
  return new GenerationFailure('bad-answer', 'answer_too_large', `The server's answer is larger than the allowed ${maxBytes} bytes.`)
}

export function corruptImage (reason: string): GenerationFailure {
  return new GenerationFailure('bad-answer', 'corrupt_image', `An image in the server's answer is corrupt: ${reason}.`)
}

/** Whether a status means success: some servers answer 204 if they have nothing to report. */
export function isSuccess (status: number): boolean {
  return status >= 200 && status < 300
}

/**
 * The failure of an answer without a success status.
 *
 * @param body the part of the answer's text that was read
 * @param retryAfter the header of that name
 */
export function statusFailure (
  status: number, contentType: string, body: string, retryAfter?: string
): GenerationFailure {
  const html = contentType.includes('html') || body.trimStart().startsWith('<')
  const said = readServerError(html ? '' : body)
  if (status >= 300 && status < 400) {
    return new GenerationFailure('server-down', 'redirected', `The server's address redirects elsewhere (status ${status}), which is not followed; register the address that it leads to.`)
  }
  if (status === 401 || status === 403 || status === 407) {
    return new GenerationFailure('unauthorized', 'unauthorized',
      `The server does not accept our credentials${said === null ? '' : `: ${said.message}`}.`)
  }
  if (status === 404 && (said === null || said.message === 'Not Found')) {
    // A1111 mounts its API some seconds after it listens, so this does not count against the job
    return new GenerationFailure('server-down', 'route_missing', 'The server does not offer this route; is it starting, or running without --api?')
  }
  if (status === 405) {
    return new GenerationFailure('server-down', 'method_not_allowed', 'The server does not offer this route for this method.')
  }
  if (status === 413) {
    return new GenerationFailure('request', 'payload_too_large', 'The request is too large for the server or a proxy in front of it; raise client_max_body_size of such a proxy.')
  }
  if (status === 425 || status === 429) {
    const retryAfterMs = waitOf(retryAfter)
    return new GenerationFailure('passing', 'server_busy', `The server turned the request away for now (status ${status}).`,
      { retryAfterMs })
  }
  if (status === 511) {
    return new GenerationFailure('server-down', 'bad_gateway', 'Something in front of the server asks for a login (status 511).')
  }
  if (status >= 502 || status === 408) {
    return new GenerationFailure('server-down', 'bad_gateway', `A proxy in front of the server could not get its answer (status ${status}).`,
      { mayBeRunning: isGatewayTimeout(status) })
  }
  if (html) return htmlAnswer(status)
  if (status >= 500) return classifyServerError(said, status)
  if (status >= 400) {
    return new GenerationFailure('request', 'request_rejected',
      `The server rejected the request${said === null ? ` (status ${status})` : `: ${said.message}`}.`)
  }
  return unexpectedStatus(status)
}

export function unexpectedStatus (status: number, options: ErrorOptions = {}): GenerationFailure {
  return new GenerationFailure('bad-answer', 'unexpected_status', `The server answered with the unexpected status ${status}.`,
    options)
}

/** Default wait if a server rejects requests without a Retry-After, in milliseconds. */
const defaultWait = 10_000
const longestWait = 600_000

/** The header Retry-After, which is seconds or a date. */
function waitOf (retryAfter: string | undefined): number {
  const text = retryAfter?.trim() ?? ''
  const wait = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isNaN(wait) ? defaultWait : Math.min(longestWait, Math.max(0, wait))
}

/** Whether the server, or a proxy in front of it, asks for fewer requests. */
export function isRateLimit (error: unknown): error is GenerationFailure & { readonly retryAfterMs: number } {
  return error instanceof GenerationFailure && error.code === 'server_busy' && error.retryAfterMs !== null
}

/** Whether the server answered that it has no such route. */
export function isMissing (error: unknown): boolean {
  return error instanceof GenerationFailure && (error.code === 'route_missing' || error.code === 'method_not_allowed')
}

/** Failures of a server, or a proxy in front of it, at one route although another route has answered. */
const ofOneRoute = new Set(['bad_gateway', 'redirected', 'not_http'])

/** Whether a failure concerns only that route. */
export function isOfOneRoute (error: unknown): boolean {
  if (!(error instanceof GenerationFailure)) return false
  const { failureClass, code } = error
  if (failureClass === 'server-down') return ofOneRoute.has(code)
  return failureClass !== 'cancelled' && failureClass !== 'internal'
}

/** undici omits the code of some. */
function isParserError (error: unknown): boolean {
  return error instanceof Error && error.name === 'HTTPParserError'
}

/** Cloudflare's 524 is a 504 by another name, and so is the 408 of some proxies. */
function isGatewayTimeout (status: number): boolean {
  return status === 408 || status === 504 || status === 524
}

/** The most specific `code` of an error, its cause or, if several addresses were tried, its parts. */
function codeOf (error: unknown): string {
  if (!(error instanceof Error)) return ''
  if (error instanceof AggregateError) {
    return codeOf(error.errors.find(one => exhaustionOf(one) === null) ?? error.errors[0])
  }
  if ('code' in error && typeof error.code === 'string') return error.code
  return codeOf(error.cause)
}

/** The server still answers, but its generation has stalled. */
export function stalled (seconds: number): GenerationFailure {
  return new GenerationFailure('server-down', 'stalled', `The generation has not moved for ${seconds} s.`,
    { mayBeRunning: true })
}
