import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { OpenAiError } from '../../schemas/openai.ts'
import { Ref } from '../../schemas/kit.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { FailedJob } from '../../src/openai/answer.ts'
import { type OpenAiFailure, type SchemaComplaint, toOpenAiComplaint, toOpenAiFailure } from '../../src/openai/errors.ts'
import { logFailure, retryAfter, toServiceError } from '../core/errors.ts'

const meanings = {
  400: 'The request is wrong.',
  401: 'The bearer token is missing or wrong.',
  403: 'The key does not allow this, or the request comes from a page of another origin.',
  404: 'There is no such model or path.',
  409: 'The job was cancelled or deleted.',
  413: 'Too large.',
  415: 'Not a content type that is understood here.',
  429: 'Too many requests; Retry-After says when to send the next.',
  500: 'The job failed, or our own fault.',
  503: 'Not possible just now; try again.'
} as const

/** Response schemas of a route's errors. */
export const openAiErrors = Object.fromEntries(Object.entries(meanings)
  .map(([status, description]) => [status, { ...Ref(OpenAiError), description }]))

/** An error of any kind, as this interface answers it. */
export function failureOf (thrown: unknown): OpenAiFailure {
  if (thrown instanceof FailedJob) return thrown.failure
  const { validation = [] } = thrown as Partial<FastifyError>
  if (validation.length > 0) return toOpenAiComplaint(validation as readonly SchemaComplaint[])
  return toOpenAiFailure(toServiceError(thrown))
}

/** Makes a scope behave like OpenAI's API: a bearer token always, and its errors. */
export function behaveLikeOpenAi (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    route.config = { credentials: 'bearer', ...route.config }
    route.schema = { security: [{ bearer: [] }], ...route.schema }
  })

  app.setErrorHandler(async (thrown, request, reply) => await sendFailure(thrown, request, reply))

  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? ''
    const allowed = app.methodsInstead(request.method, path)
    if (allowed.length === 0) {
      return await sendFailure(new ServiceError('route_not_found', `Invalid URL (${request.method} ${path})`), request, reply)
    }
    reply.header('allow', allowed.join(', '))
    return await sendFailure(new ServiceError('method_not_allowed',
      `Not allowed to ${request.method} on ${path}. It takes ${allowed.join(', ')}.`), request, reply)
  })
}

async function sendFailure (thrown: unknown, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { status, body, isWorthRetrying } = failureOf(thrown)
  const error = thrown instanceof Error ? thrown : toServiceError(thrown)
  if (!(thrown instanceof FailedJob)) reply.headers(retryAfter(toServiceError(thrown)))
  // Its packages repeat requests by themselves. Without a key each repeat is another job, and this one is kept.
  const isRepeatable = isWorthRetrying && (error as Partial<ServiceError>).code !== 'shutting_down'
  reply.header('x-should-retry', String(isRepeatable || (isWorthRetrying && request.headers['idempotency-key'] !== undefined)))
  const sent = logFailure(request, {
    code: body.error.code ?? '', status, isExpected: thrown instanceof FailedJob
  }, error)
  return await reply.code(sent).type('application/json; charset=utf-8')
    .serializer((payload: unknown) => stringifyJson(payload)).send(body)
}
