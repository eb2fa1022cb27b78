import { randomUUID } from 'node:crypto'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { describeUnknownField } from '../../src/a1111/unknown-fields.ts'
import { messageOf, ServiceError, type ErrorCode } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { machineFaultOf, storageError } from '../../src/media/storage-fault.ts'
import { toOpenAiFailure } from '../../src/openai/errors.ts'
import { redisProblemOf, type RedisProblem } from '../../src/redis/errors.ts'
import { hasHungUp } from './held-requests.ts'
import { methodOf } from './request-log.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The error format of an interface other than `/api`; found by the nearest route or scope. */
    renderError?: (error: ServiceError, request: FastifyRequest) => unknown
  }
}

/** Limit of wrong fields in one answer. */
const maxFields = 20

/** Fastify's own errors, by their status, in our words. */
const codesByStatus: Readonly<Record<number, ErrorCode>> = {
  400: 'malformed_request',
  401: 'authentication_required',
  403: 'permission_denied',
  404: 'route_not_found',
  405: 'method_not_allowed',
  413: 'payload_too_large',
  414: 'uri_too_long',
  415: 'unsupported_media_type',
  429: 'api_key_rate_limit'
}

/** Turns any thrown value into one of the taxonomy; an unexpected error reveals nothing. */
export function toServiceError (error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  const known = error as Partial<FastifyError>
  if (known.validation !== undefined && known.validation.length > 0) return validationError(known)
  const redis = redisProblemOf(error)
  if (redis !== null) return databaseError(redis, error)
  const fault = machineFaultOf(error)
  if (fault !== null) return storageError(fault, error)
  const { statusCode = 500 } = known
  const code = statusCode < 500 ? codesByStatus[statusCode] ?? 'malformed_request' : undefined
  if (code !== undefined) return new ServiceError(code, messageOf(error), {}, { cause: error })
  return new ServiceError('internal_server_error', 'Something went wrong on our side; the log knows more.', {},
    { cause: error })
}

/** Seconds until a retry, for errors that do not give them. */
const defaultRetrySeconds = 5

function databaseError ({ kind, code, reason }: RedisProblem, cause: unknown): ServiceError {
  return new ServiceError(kind === 'away' ? 'database_error' : 'database_unavailable',
    `This cannot be done just now: ${reason}. Please try again.`,
    { retry_after: defaultRetrySeconds, ...(code === '' ? {} : { reason: code }) }, { cause })
}

/** When to retry, for every limit and temporary failure. */
export function retryAfter ({ status, details }: ServiceError): { 'retry-after'?: string } {
  const { retry_after: seconds } = details
  if (typeof seconds === 'number') return { 'retry-after': String(seconds) }
  return status === 503 ? { 'retry-after': String(defaultRetrySeconds) } : {}
}

function validationError ({ validation = [], validationContext }: Partial<FastifyError>): ServiceError {
  // If a value can also be null or of another shape, the other shapes' complaints are noise.
  const specific = validation.filter(({ keyword, params }) => keyword !== 'anyOf' && keyword !== 'if' && params.type !== 'null')
  const fields = (specific.length > 0 ? specific : validation).slice(0, maxFields)
    .map(problem => describe(problem, validationContext ?? 'body'))
    .filter(({ field }, index, all) => all.findIndex(other => other.field === field) === index)
    // A misspelt name explains a missing field.
    .toSorted((one, other) => Number(other.nearest !== undefined) - Number(one.nearest !== undefined))
  const first = fields[0]
  return new ServiceError(first?.code ?? 'invalid_field_value', fields.map(({ message }) => message).join(' '), {
    ...(first === undefined ? {} : { field: first.field }),
    ...(first?.nearest === undefined ? {} : { nearest: first.nearest }),
    fields: fields.map(({ field, message }) => ({ field, message }))
  })
}

type Problem = NonNullable<FastifyError['validation']>[number]

interface WrongField {
  readonly code: ErrorCode
  readonly field: string
  readonly message: string
  readonly nearest?: readonly string[]
}

/** @param whole replaces the field if the request as a whole is wrong */
function describe (problem: Problem, whole: string): WrongField {
  const { keyword, params, message = 'is not valid' } = problem
  const path = problem.instancePath.split('/').slice(1).map(unescapePointer)
  if (keyword === 'additionalProperties') {
    const { properties = {} } = (problem as { parentSchema?: { properties?: object } }).parentSchema ?? {}
    const name = String(params.additionalProperty)
    const { complaint: _, ...wrong } = describeUnknownField(name, Object.keys(properties), path.join('.'))
    return { code: 'invalid_field_value', ...wrong }
  }
  if (keyword === 'required') {
    const field = [...path, String(params.missingProperty)].join('.')
    return { code: 'missing_required_field', field, message: `${field} is required.` }
  }
  const field = path.join('.') || whole
  const sentence = keyword === 'enum'
    ? `must be one of: ${(params.allowedValues as string[]).join(', ')}`
    : keyword === 'pattern' ? 'does not have the right form' : message
  return { code: 'invalid_field_value', field, message: `${field} ${sentence}.` }
}

const unescapePointer = (part: string) => part.replaceAll('~1', '/').replaceAll('~0', '~')

/** The answer under `/api`. */
export function renderApiError (error: ServiceError, request: Pick<FastifyRequest, 'id'>) {
  return {
    success: false,
    error: error.code,
    message: error.message,
    details: { ...error.details, code: error.code, timestamp: new Date().toISOString(), request_id: request.id }
  }
}

/** The answer to a request that Fastify refuses before it has a route, such as for an unreadable address. */
export function answerFrameworkError (error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const known = toServiceError(error)
  reply.code(known.status).headers({ ...retryAfter(known), 'x-content-type-options': 'nosniff' })
    .type('application/json; charset=utf-8').send(stringifyJson(/^\/v1\//.test(request.url)
      ? toOpenAiFailure(known).body
      : renderApiError(known, request)))
}

/** Answers bytes that are no request, come too slowly or have endless headers, and ends the connection. */
export function answerClientError ({ code }: Error & { code: string }, socket: Socket): void {
  if (code !== 'ECONNRESET' && socket.writable) {
    const error = clientError(code)
    const body = stringifyJson(renderApiError(error, { id: randomUUID() }))
    socket.write([
      `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}`, 'Content-Type: application/json; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`, 'X-Content-Type-Options: nosniff', 'Connection: close', '', body
    ].join('\r\n'))
  }
  socket.destroy()
}

/** @param code of Node's HTTP parser */
function clientError (code: string): ServiceError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT': return new ServiceError('request_timeout', 'The request did not come in time.')
    case 'HPE_HEADER_OVERFLOW':
      return new ServiceError('headers_too_large', 'The address and headers of a request can have at most 16 KiB together.')
    default: return new ServiceError('malformed_request', 'What was sent is no HTTP request.')
  }
}

/** Status of an abandoned answer, in the log and in metrics; nginx's own. */
const hungUp = 499

export interface FailedRequest {
  readonly code: string
  readonly status: number
  /** For failures that quote a server, whose clients know the status 500. */
  readonly isExpected?: boolean
}

/**
 * Logs a failed request by its severity, with its cause.
 * @returns the status to answer with: a client's disconnect is no fault of ours, whatever failed by it
 */
export function logFailure (
  request: FastifyRequest, { code, status, isExpected = false }: FailedRequest, error: Error
): number {
  const isGone = hasHungUp(request)
  const isOurs = status >= 500 && !isExpected && !isGone
  const cause = error.cause ?? (isOurs ? error : undefined)
  request.log[isOurs ? 'error' : 'debug']({ code, ...(cause === undefined ? {} : { err: cause }) }, error.message)
  return isGone ? hungUp : status
}

/** One way for every error: a typed value, logged by its severity, worded by its interface. */
export default fp(async app => {
  async function send (error: ServiceError, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const status = logFailure(request, error, error)
    const render = request.routeOptions.config.renderError ?? renderApiError
    // Bypasses the response schema of the route: an error must never fail for its own shape.
    await reply.code(status).headers(retryAfter(error)).type('application/json; charset=utf-8')
      .serializer((payload: unknown) => stringifyJson(payload)).send(render(error, request))
  }

  app.setErrorHandler(async (error, request, reply) => {
    await send(toServiceError(error), request, reply)
  })
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? ''
    const allowed = app.methodsInstead(request.method, path)
    if (allowed.length === 0) {
      return await send(new ServiceError('route_not_found', `There is no ${methodOf(request)} ${path} here.`), request, reply)
    }
    reply.header('allow', allowed.join(', '))
    await send(new ServiceError('method_not_allowed',
      `${methodOf(request)} is not possible at ${path}. It takes ${allowed.join(', ')}.`, { allowed }), request, reply)
  })
}, { name: 'errors', dependencies: ['known-paths'] })
