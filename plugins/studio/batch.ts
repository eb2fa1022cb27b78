import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import { StudioBatch, StudioBatchAccepted, StudioBatchRequest } from '../../schemas/studio-batch.ts'
import { studioErrors } from '../../schemas/studio-job.ts'
import { WebhookFields } from '../../schemas/webhook.ts'
import { mayCancelJob, maySeeJob, requireImages } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import type { Batch } from '../../src/studio/batches.ts'
import { studioWarnings } from '../../src/studio/errors.ts'
import { studioFiles } from '../../src/studio/form.ts'
import { composeGrid } from '../../src/studio/grid.ts'
import { readFields } from '../../src/studio/read-fields.ts'
import { signingSecretOf } from '../../src/webhooks/sign.ts'
import { callOf } from './call.ts'

const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const writing = { access: { scope: 'jobs:write' } } as const
const params = Type.Object({
  batch_id: Type.String({ description: 'Id of the batch.', examples: ['1cfd52d6-8961-47fc-b387-c195c6568e62'] })
})

/** Variations and sweeps: many generations as one thing. */
const batchRoutes: FastifyPluginAsync = async app => {
  const { batches, studioViews: views, cancelAll, media } = app

  async function find (request: FastifyRequest, allowed: typeof maySeeJob): Promise<Batch> {
    const batch = await batches.find((request.params as { batch_id: string }).batch_id)
    if (batch === null || !allowed(request.principal, batch.keyId)) throw new ServiceError('bulk_not_found', 'Batch not found')
    return batch
  }

  app.post('/batch', {
    config: { ...writing, multipart: { files: studioFiles } },
    schema: {
      operationId: 'studio_batch',
      tags: ['Studio'],
      summary: 'Many pictures that differ in some fields',
      description: 'Every variation, and in each every combination of the axes. Either all of them are taken or none.',
      body: JsonOrForm(StudioBatchRequest, StudioBatchRequest),
      response: { 200: { ...Ref(StudioBatchAccepted), description: 'All of them wait in the queue.' }, ...studioErrors(404, 413, 415) }
    }
  }, async request => {
    const call = callOf(request)
    const { batch, warnings } = await batches.submit(call)
    const { id, cells } = batch
    return {
      job_id: id,
      batch_id: id,
      status: 'queued',
      message: `Batch of ${cells.length} generations queued successfully`,
      estimated_time: await views.secondsOfBatch(await batches.jobs(batch)),
      total: cells.length,
      job_ids: cells.map(({ jobId }) => jobId),
      warnings: studioWarnings(warnings),
      ...signingSecretOf(readFields(WebhookFields, call.fields))
    }
  })

  app.get('/batch/:batch_id', {
    config: reading,
    schema: {
      operationId: 'studio_batch_status',
      tags: ['Studio'],
      summary: 'A batch as it is now',
      params,
      response: { 200: { ...Ref(StudioBatch), description: 'The batch.' }, ...studioErrors(404) }
    }
  }, async request => {
    const batch = await find(request, maySeeJob)
    return await views.batch(batch, await batches.jobs(batch))
  })

  app.get('/batch/:batch_id/grid', {
    config: reading,
    schema: {
      operationId: 'studio_batch_grid',
      tags: ['Studio'],
      summary: 'All pictures of a batch in one',
      params,
      produces: ['image/png'],
      response: {
        200: { description: 'PNG.', content: { 'image/png': { schema: Type.String({ format: 'binary' }) } } }, ...studioErrors(404)
      }
    }
  }, async (request, reply) => {
    const batch = await find(request, maySeeJob)
    requireImages(request.principal)
    const grid = await composeGrid(batch, await batches.jobs(batch), media)
    return await reply.type('image/png').header('cache-control', 'no-store').send(grid)
  })

  app.post('/batch/:batch_id/cancel', {
    config: writing,
    schema: {
      operationId: 'studio_cancel_batch',
      tags: ['Studio'],
      summary: 'Cancel the unfinished jobs of a batch',
      params,
      response: { 200: { ...Ref(StudioBatch), description: 'The batch as it is now.' }, ...studioErrors(404) }
    }
  }, async request => {
    const batch = await find(request, mayCancelJob)
    await cancelAll(await batches.jobs(batch))
    return await views.batch(batch, await batches.jobs(batch))
  })
}

export default batchRoutes
