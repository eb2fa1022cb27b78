import type { FastifyPluginAsync } from 'fastify'
import { Ref } from '../../schemas/kit.ts'
import { studioErrors } from '../../schemas/studio-job.ts'
import { StudioQueue } from '../../schemas/studio-queue.ts'
import { studioQueue } from '../../src/studio/queue-view.ts'

/** How long the next job would wait. */
const queue: FastifyPluginAsync = async app => {
  const { registry, estimates } = app

  app.get('/', {
    config: { access: { scope: 'jobs:read', bucket: 'status' } },
    schema: {
      operationId: 'studio_queue',
      tags: ['Studio'],
      summary: 'How much there is to do before the next job',
      response: { 200: { ...Ref(StudioQueue), description: 'The queues of all servers.' }, ...studioErrors() }
    }
  }, async () => await studioQueue({ registry, estimates }))
}

export default queue
