import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { withinRequest } from '../../src/telemetry/request-context.ts'
import type { OpenSpan, Tracing } from '../../src/telemetry/tracing.ts'
import { hasHungUp, wasBrokenOff } from './held-requests.ts'

/** Ids of requests, in the log, in the header X-Request-Id and in every error. */
export const newRequestId = (): string => randomUUID()

/** Questions that balancers and pages ask all the time; they are logged only when something is wrong. */
const quiet = new Set(['/health', '/ready', '/status', '/metrics'])

/** One line for each request once it is answered or its caller has gone, with who asked. */
export default fp(async app => {
  function logRequest (request: FastifyRequest, reply: FastifyReply, sentence: string): void {
    const { method, routeOptions, url } = request
    const isFault = reply.statusCode >= 500 && !hasHungUp(request)
    const weight = isFault ? 'warn' : quiet.has(routeOptions.url ?? '') ? 'debug' : 'info'
    request.log[weight]({
      method,
      // What stands behind the question mark may be private.
      path: url.split('?')[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      caller: request.principal?.keyId ?? request.principal?.kind,
      peer: request.ip
    }, sentence)
  }

  app.addHook('onRequest', async (request, reply) => {
    reply.headers({ 'x-request-id': request.id, 'x-content-type-options': 'nosniff' })
    // Fastify calls an answer finished only when its last byte was sent, which streams of events never come to.
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return
      logRequest(request, reply, wasBrokenOff(reply) ? 'request, broken off' : 'request, until the caller hung up')
    })
  })
  app.addHook('onResponse', async (request, reply) => { logRequest(request, reply, 'request') })
}, { name: 'request-log' })

declare module 'fastify' {
  interface FastifyRequest {
    /** Null while nothing is traced. */
    span: OpenSpan | null
  }
}

/** Lets all that is done for a request know of it, and makes it the beginning of a trace, or a part of its caller's. */
export const requestContext = fp<{ readonly tracing: Tracing }>(async (app, { tracing }) => {
  app.decorateRequest('span', null)

  app.addHook('onRequest', (request, _reply, done) => {
    if (tracing.enabled) request.span = beginSpan(request)
    withinRequest({ requestId: request.id, traceparent: request.span?.traceparent ?? null }, done)
  })

  function beginSpan ({ id, method, url, headers, routeOptions }: FastifyRequest): OpenSpan {
    const { traceparent } = headers
    const route = routeOptions.url ?? '(none)'
    return tracing.begin(`${method} ${route}`, {
      kind: 'server',
      parent: typeof traceparent === 'string' ? traceparent : null,
      attributes: {
        'http.request.method': method,
        'http.route': route,
        'url.path': url.split('?')[0] ?? '',
        'stablequeue.request': id
      }
    })
  }

  if (!tracing.enabled) return
  app.addHook('onResponse', async ({ span }, { statusCode }) => {
    span?.set({ 'http.response.status_code': statusCode })
    if (statusCode >= 500) span?.fail(`status ${statusCode}`)
    span?.end()
  })
}, { name: 'request-context' })
