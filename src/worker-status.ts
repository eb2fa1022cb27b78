import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import type { House } from './house.ts'
import { metricsContentType } from './metrics/metrics.ts'
import { processMetrics } from './metrics/process.ts'

/** What a process that only works tells of itself: `/health` and `/metrics`, to whoever reaches its port. */
export function createWorkerStatus (house: Pick<House, 'metrics'>, logger: FastifyBaseLogger): FastifyInstance {
  const app = Fastify({
    loggerInstance: logger,
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: true
  })
  app.get('/health', async () => ({ status: 'healthy' }))
  app.get('/metrics', async (_request, reply) => {
    reply.type(metricsContentType)
    return (await Promise.all([house.metrics.text(), processMetrics()])).join('\n')
  })
  return app
}
