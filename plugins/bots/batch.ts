import { type TObject, Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import {
  BotAccepted, BotBatch, BotBatchAccepted, BotBatchRequest, botErrors
} from '../../schemas/bots-job.ts'
import { JsonOrForm, Ref } from '../../schemas/kit.ts'
import { WebhookFields } from '../../schemas/webhook.ts'
import { mayCancelJob, maySeeJob, requireImages } from '../../src/access/principal.ts'
import type { Batch } from '../../src/bots/batches.ts'
import { botWarnings } from '../../src/bots/errors.ts'
import { botFiles } from '../../src/bots/form.ts'
import { composeGrid } from '../../src/bots/image-grid.ts'
import { readFields } from '../../src/bots/read-fields.ts'
import { type GenerationKind, requestSchemas } from '../../src/bots/request.ts'
import type { Accepted } from '../../src/jobs/submit.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { seedText } from '../../src/lib/seeds.ts'
import { signingSecretOf } from '../../src/webhooks/signing-keys.ts'
import { callOf } from './scope.ts'

const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const writing = { access: { scope: 'jobs:write' } } as const
const params = Type.Object({
  batch_id: Type.String({ description: 'Id of the batch.', examples: ['1cfd52d6-8961-47fc-b387-c195c6568e62'] })
})

/** Variations and parameter grids: many generations as one unit. */
const batchRoutes: FastifyPluginAsync = async app => {
  const { batches, botViews: views, cancelAll, media } = app

  async function find (request: FastifyRequest, allowed: typeof maySeeJob): Promise<Batch> {
    const batch = await batches.find((request.params as { batch_id: string }).batch_id)
    if (batch === null || !allowed(request.principal, batch.keyId)) throw new ServiceError('bulk_not_found', 'Batch not found')
    return batch
  }

  app.post('/batch', {
    config: { ...writing, multipart: { files: botFiles } },
    schema: {
      operationId: 'studio_batch',
      tags: ['Studio'],
      summary: 'Many pictures that differ in some fields',
      description: 'Every variation, and in each every combination of the axes. Either all of them are taken or none.',
      body: JsonOrForm(BotBatchRequest, BotBatchRequest),
      response: { 200: { ...Ref(BotBatchAccepted), description: 'All of them wait in the queue.' }, ...botErrors(404, 413, 415) }
    }
  }, async request => {
    const call = await callOf(request)
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
      warnings: botWarnings(warnings),
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
      response: { 200: { ...Ref(BotBatch), description: 'The batch.' }, ...botErrors(404) }
    }
  }, async request => {
    const batch = await find(request, maySeeJob)
    return await views.batch(batch, await batches.jobs(batch), request.base)
  })

  app.get('/batch/:batch_id/grid', {
    config: reading,
    schema: {
      operationId: 'studio_batch_grid',
      tags: ['Studio'],
      summary: 'All pictures of a batch in one',
      params,
      response: {
        200: { description: 'PNG.', content: { 'image/png': { schema: Type.String({ format: 'binary' }) } } }, ...botErrors(404)
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
      response: { 200: { ...Ref(BotBatch), description: 'The batch as it is now.' }, ...botErrors(404) }
    }
  }, async request => {
    const batch = await find(request, mayCancelJob)
    await cancelAll(await batches.jobs(batch))
    return await views.batch(batch, await batches.jobs(batch), request.base)
  })
}

export default batchRoutes

const config = { access: { scope: 'jobs:write' }, multipart: { files: botFiles } } as const

const routes: Readonly<Record<GenerationKind, { readonly summary: string, readonly message: string }>> = {
  txt2img: { summary: 'A picture from words', message: 'Generation queued successfully' },
  img2img: { summary: 'A picture from a picture', message: 'Generation queued successfully' },
  inpaint: { summary: 'A part of a picture, generated again', message: 'Inpainting queued successfully' },
  outpaint: { summary: 'A picture extended beyond its edges', message: 'Outpainting queued successfully' },
  controlnet: { summary: 'A picture guided by others', message: 'ControlNet generation queued successfully' },
  regional: { summary: 'A picture with regions', message: 'Regional prompting generation queued successfully' },
  upscale: { summary: 'Finished pictures enlarged', message: 'Upscale queued successfully' },
  'face-restore': { summary: 'Faces of finished pictures restored', message: 'Face restoration queued successfully' }
}

/** All routes that generate images; the answer is a job. */
export const generate: FastifyPluginAsync = async app => {
  const { generations, botViews: views } = app

  for (const [kind, schema] of Object.entries(requestSchemas) as Array<[GenerationKind, TObject]>) {
    const { summary, message } = routes[kind]
    app.post(`/${kind}`, {
      config,
      schema: {
        operationId: `studio_${kind.replace('-', '_')}`,
        tags: ['Studio'],
        summary,
        description: 'Takes JSON with images as base64 or by name, or multipart/form-data with files: fields as parts of their own, ' +
          'or as one JSON object in a part called `request`.',
        body: JsonOrForm(schema, schema),
        response: { 200: { ...Ref(BotAccepted), description: 'It waits in the queue.' }, ...botErrors(404, 413, 415) }
      }
    }, async request => {
      const call = await callOf(request)
      const [accepted] = await generations.submit([await generations.prepare(kind, call)])
      if (accepted === undefined) return null
      const answer = renderAccepted(accepted, message, await views.secondsOf(accepted))
      return { ...answer, ...signingSecretOf(readFields(WebhookFields, call.fields)) }
    })
  }
}

function renderAccepted (
  { id, position, seed, warnings }: Accepted, message: string, seconds: number | null
): BotAccepted {
  const shown = botWarnings(warnings)
  return { job_id: id, status: 'queued', message, estimated_time: seconds, position, seed, seed_text: seedText(seed), warnings: shown }
}
