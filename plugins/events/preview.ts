import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { maySeeJob, requireImages } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { jobBases } from '../api/job-bases.ts'
import { hangUp } from '../core/hang-up.ts'

/** How long somebody waits for the first preview, in milliseconds: servers draw one every few steps. */
const patience = 5000

/** What a running job looks like so far. */
const preview: FastifyPluginAsyncTypebox = async app => {
  const { previews, jobStore: store } = app

  for (const { base, name } of jobBases) {
    app.get(`${base}/:jobId/preview`, {
      config: { access: { scope: 'jobs:read', bucket: 'status' } },
      exposeHeadRoute: false,
      schema: {
        operationId: `get_preview_${name}`,
        tags: ['Events'],
        summary: 'See a running job',
        description: 'The unfinished picture of its server, as a JPEG of up to 512 pixels; 404 unless the job runs and its ' +
          'server shows previews. With `kinds=preview`, an event reports each new one.',
        params: JobIdParameters,
        querystring: Type.Object({
          v: Type.Optional(Type.String({ maxLength: 20, description: 'From the event; makes browsers fetch it again.' }))
        }),
        response: {
          200: {
            description: 'The picture.', content: { 'image/jpeg': { schema: { type: 'string', format: 'binary' } } }
          },
          ...errorResponses(403, 404)
        }
      }
    }, async (request, reply) => {
      const { jobId } = request.params
      const job = await store.find(jobId)
      if (job === null || !maySeeJob(request.principal, job.keyId)) {
        throw new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })
      }
      requireImages(request.principal)
      const shown = job.status === 'processing'
        ? await withDeadline(patience, [hangUp(reply)], async signal => await previews.see(jobId, signal))
        : null
      if (shown === null) {
        throw new ServiceError('image_not_found', job.status === 'processing'
          ? 'The server shows no preview of this job yet.'
          : `Only running jobs have a preview; job ${jobId} is ${job.status}.`)
      }
      return await reply.headers({
        'content-type': 'image/jpeg',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'content-security-policy': 'default-src \'none\'; sandbox',
        'cross-origin-resource-policy': 'same-site'
      }).send(shown.jpeg)
    })
  }
}

export default preview
