import fp from 'fastify-plugin'
import { withinTrace, type OpenSpan, type Tracing } from '../../src/telemetry/tracing.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Null while nothing is traced. */
    span: OpenSpan | null
  }
}

/** Makes every request the beginning of a trace, or a part of its caller's. */
export default fp<{ readonly tracing: Tracing }>(async (app, { tracing }) => {
  app.decorateRequest('span', null)
  if (!tracing.enabled) return

  app.addHook('onRequest', (request, _reply, done) => {
    const { method, url, headers, routeOptions } = request
    const { traceparent } = headers
    const span = tracing.begin(`${method} ${routeOptions.url ?? '(none)'}`, {
      kind: 'server',
      parent: typeof traceparent === 'string' ? traceparent : null,
      attributes: {
        'http.request.method': method,
        'http.route': routeOptions.url ?? '',
        'url.path': url.split('?')[0] ?? '',
        'stablequeue.request': request.id
      }
    })
    request.span = span
    withinTrace(span.traceparent, done)
  })

  app.addHook('onResponse', async ({ span }, { statusCode }) => {
    span?.set({ 'http.response.status_code': statusCode })
    if (statusCode >= 500) span?.fail(`status ${statusCode}`)
    span?.end()
  })
}, { name: 'tracing' })
