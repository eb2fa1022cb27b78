import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { maySeeJob } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { imageFormats } from '../../src/media/image-header.ts'
import { imageContent } from '../core/send-image.ts'
import { jobBases } from './job-views.ts'

const formats = Object.values(imageFormats)
const InputParameters = Type.Object({
  ...JobIdParameters.properties,
  name: Type.String({
    maxLength: 100,
    description: 'As `$media` in generation_params names it.',
    examples: ['9f9bd017dc67bd8230a9ab1e9b7695d8cc3679fd73a5488b251808a0e5c9f1cb.png']
  })
})

/** Input images of jobs: start images, masks and those of ControlNet, for clients that can see the job. */
const jobInputs: FastifyPluginAsyncTypebox = async app => {
  const { jobStore: store, inputs } = app

  for (const { base } of jobBases) {
    app.get(`${base}/:jobId/inputs/:name`, {
      config: { access: { scope: 'images:read', bucket: 'status' } },
      schema: {
        operationId: 'jobs.getInput',
        tags: ['Images'],
        summary: 'Get an image that a job starts from',
        description: 'A start image, a mask or an image of a ControlNet unit, as it was sent.',
        params: InputParameters,
        response: {
          200: { description: 'The image.', content: imageContent },
          ...errorResponses(403, 404)
        }
      }
    }, async (request, reply) => {
      const { jobId, name } = request.params
      const job = await store.find(jobId)
      if (job === null || !maySeeJob(request.principal, job.keyId)) {
        throw new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })
      }
      const bytes = await inputs.ofJob(job, name)
      return await reply.headers({
        'content-type': formats.find(({ extension }) => name.endsWith(`.${extension}`))?.mime ?? 'application/octet-stream',
        // Its name is its content, so a client can cache it for ever.
        'cache-control': 'private, max-age=31536000, immutable',
        'x-content-type-options': 'nosniff',
        'content-security-policy': 'default-src \'none\'; sandbox',
        'cross-origin-resource-policy': 'same-site'
      }).send(bytes)
    })
  }
}

export default jobInputs
