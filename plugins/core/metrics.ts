import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { errorResponses } from '../../schemas/error.ts'
import { metricsContentType, type Metrics } from '../../src/telemetry/metrics.ts'
import { methodOf } from './request-log.ts'

export interface MetricsOptions {
  /** Of this process's own work. */
  readonly metrics: Metrics
  /** Further texts in the same format, from other counters. */
  readonly others: ReadonlyArray<() => Promise<string>>
}

/** Counts every request by the pattern of its route, and serves the metrics to Prometheus. */
const metricsPlugin: FastifyPluginAsync<MetricsOptions> = async (app, { metrics, others }) => {
  app.addHook('onResponse', (request, reply, done) => {
    metrics.requestAnswered({
      method: methodOf(request),
      route: request.routeOptions.url ?? '(none)',
      status: reply.statusCode,
      took: reply.elapsedTime
    })
    done()
  })

  app.get('/metrics', {
    config: { access: { scope: 'metrics:read', bucket: 'status' } },
    schema: {
      operationId: 'health.getMetrics',
      tags: ['Health'],
      summary: 'Everything that is counted, for Prometheus',
      description: 'Jobs, servers, queues and Redis as all processes see them, and what this process did itself. ' +
        'Needs the scope `metrics:read`, except where the caller is trusted by its address.',
      response: {
        200: {
          description: 'The text format of Prometheus.', content: { 'text/plain': { schema: { type: 'string' } } }
        },
        ...errorResponses(401, 403)
      }
    }
  }, async (_request, reply) => {
    reply.type(metricsContentType).header('cache-control', 'no-store')
    const texts = await Promise.all([metrics.text(), ...others.map(async text => await text())])
    return texts.join('\n')
  })
}

export default fp(metricsPlugin, { name: 'metrics', fastify: '5.x', dependencies: ['access'] })
