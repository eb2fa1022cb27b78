import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { OpenSpan, RequestContext, Tracing } from '../../src/telemetry/tracing.ts'
import { hasHungUp, wasBrokenOff } from './held-requests.ts'

/** Ids of requests, in the log, in the header X-Request-Id and in every error. */
export const newRequestId = (): string => randomUUID()

const headRequests = new WeakSet<IncomingMessage>()

/**
 * Takes HEAD for GET, as Fastify's `rewriteUrl`: Node omits the body of an answer to a request that began as HEAD.
 * Routes for HEAD alone would nearly double the routes, whose registration is a large part of a start.
 */
export function takeHeadAsGet (raw: IncomingMessage): string {
  if (raw.method === 'HEAD') {
    raw.method = 'GET'
    headRequests.add(raw)
  }
  return raw.url ?? ''
}

/** The method that the client sent. */
export const methodOf = ({ raw, method }: FastifyRequest): string => headRequests.has(raw) ? 'HEAD' : method

/** Frequent requests of balancers and pages; they are logged only if they fail. */
const quiet = new Set(['/health', '/ready', '/status', '/metrics'])

/** One line for each request after its answer or its client's disconnect, with the principal. */
export default fp(async app => {
  function logRequest (request: FastifyRequest, reply: FastifyReply, sentence: string): void {
    const { routeOptions, url } = request
    const isFault = reply.statusCode >= 500 && !hasHungUp(request)
    const weight = isFault ? 'warn' : quiet.has(routeOptions.url ?? '') ? 'debug' : 'info'
    request.log[weight]({
      method: methodOf(request),
      // The query can be private.
      path: url.split('?')[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      caller: request.principal?.keyId ?? request.principal?.kind,
      peer: request.ip
    }, sentence)
  }

  app.addHook('onRequest', (request, reply, done) => {
    reply.headers({ 'x-request-id': request.id, 'x-content-type-options': 'nosniff' })
    // Fastify calls an answer finished only when its last byte was sent, which event streams never reach.
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return
      logRequest(request, reply, wasBrokenOff(reply) ? 'request, broken off' : 'request, until the caller hung up')
    })
    if (request.routeOptions.config.noHead === true && methodOf(request) === 'HEAD') reply.callNotFound()
    else done()
  })
  app.addHook('onResponse', (request, reply, done) => {
    logRequest(request, reply, 'request')
    done()
  })
}, { name: 'request-log' })

declare module 'fastify' {
  interface FastifyRequest {
    /** Null while there is no tracing. */
    span: OpenSpan | null
  }

  interface FastifyContextConfig {
    /** A stream or a socket, which HEAD does not have. */
    noHead?: true
  }
}

/** What a job takes over of the request that submits it. */
export function contextOf ({ id, span }: FastifyRequest): RequestContext {
  return { requestId: id, traceparent: span?.traceparent ?? null }
}

/** Starts a trace, or joins the client's. */
export const requestTrace = fp<{ readonly tracing: Tracing }>(async (app, { tracing }) => {
  app.decorateRequest('span', null)

  if (!tracing.enabled) return
  app.addHook('onRequest', (request, _reply, done) => {
    request.span = beginSpan(request)
    done()
  })

  function beginSpan (request: FastifyRequest): OpenSpan {
    const { id, url, headers, routeOptions } = request
    const method = methodOf(request)
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

  app.addHook('onResponse', ({ span }, { statusCode }, done) => {
    span?.set({ 'http.response.status_code': statusCode })
    if (statusCode >= 500) span?.fail(`status ${statusCode}`)
    span?.end()
    done()
  })
}, { name: 'request-trace' })
