import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { withinRequest } from '../../src/telemetry/request-context.ts'
import type { OpenSpan, Tracing } from '../../src/telemetry/tracing.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Null while nothing is traced. */
    span: OpenSpan | null
  }
}

/** Lets all that is done for a request know of it, and makes it the beginning of a trace, or a part of its caller's. */
export default fp<{ readonly tracing: Tracing }>(async (app, { tracing }) => {
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
