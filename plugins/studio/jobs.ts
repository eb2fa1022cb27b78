import { Readable } from 'node:stream'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { hasEnded } from '../../schemas/job-status.ts'
import { Ref } from '../../schemas/kit.ts'
import {
  StudioDone, StudioJob, StudioJobParameters, StudioResult, StudioResultQuery, studioErrors
} from '../../schemas/studio-job.ts'
import { StudioMessage } from '../../schemas/studio-session.ts'
import { mayCancelJob, maySeeJob } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import type { Job } from '../../src/jobs/job.ts'
import { checkImages } from '../../src/sdapi/answer.ts'
import { studioJob, studioResult } from '../../src/studio/job-view.ts'
import { readFields } from '../../src/studio/read-fields.ts'
import type { Studio } from '../../src/studio/studio.ts'

const tags = ['Studio']
const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const writing = { access: { scope: 'jobs:write' } } as const

/** Watching jobs, getting their images, ending them. */
const jobs: FastifyPluginAsync<{ readonly studio: Studio }> = async (app, { studio }) => {
  const { house: { store, media }, removeJob } = studio

  /** The job, if the caller may do this with it; another's job is answered as one that is not there. */
  async function find (request: FastifyRequest, allowed: typeof maySeeJob): Promise<Job> {
    const { job_id: id } = request.params as { job_id: string }
    const job = await store.find(id)
    if (job === null || !allowed(request.principal, job.keyId)) throw new ServiceError('job_not_found', 'Job not found')
    return job
  }

  async function view (job: Job): Promise<StudioJob> {
    return studioJob(job, job.status === 'pending' ? await store.position(job) : null)
  }

  app.get('/:job_id', {
    config: reading,
    schema: {
      operationId: 'studio_job',
      tags,
      summary: 'A job as it is now',
      params: StudioJobParameters,
      response: { 200: { ...Ref(StudioJob), description: 'The job.' }, ...studioErrors(404) }
    }
  }, async request => await view(await find(request, maySeeJob)))

  app.get('/:job_id/result', {
    config: reading,
    schema: {
      operationId: 'studio_job_result',
      tags,
      summary: 'What a job made',
      description: '404 until the job has ended. A job that failed answers 200 as well, with `error` and no images.',
      params: StudioJobParameters,
      querystring: StudioResultQuery,
      response: { 200: { ...Ref(StudioResult), description: 'Images and what is known of them.' }, ...studioErrors(404) }
    }
  }, async (request, reply) => {
    const { format = 'base64' } = readFields(StudioResultQuery, request.query, 'query')
    const job = await find(request, maySeeJob).catch(unavailable)
    if (!hasEnded(job.status)) throw notAvailable()
    if (format === 'base64' && job.status === 'completed') await checkImages(media, job).catch(unavailable)
    return reply.type('application/json').send(Readable.from(studioResult(media, job, format), { objectMode: false }))
  })

  app.post('/:job_id/cancel', {
    config: writing,
    schema: {
      operationId: 'studio_cancel_job',
      tags,
      summary: 'End a job',
      params: StudioJobParameters,
      response: { 200: { ...Ref(StudioDone), description: 'It is ended, or being ended.' }, ...studioErrors(404) }
    }
  }, async request => {
    const { id } = await find(request, mayCancelJob)
    const outcome = await store.cancel(id)
    return { message: outcome === 'cancelled' ? 'Job cancelled' : 'Job is being cancelled', job: await view(await store.get(id)) }
  })

  app.delete('/:job_id', {
    config: writing,
    schema: {
      operationId: 'studio_delete_job',
      tags,
      summary: 'Forget an ended job with its images, or end an active one',
      params: StudioJobParameters,
      response: { 200: { ...Ref(StudioMessage), description: 'Done.' }, ...studioErrors(404) }
    }
  }, async request => {
    const job = await find(request, mayCancelJob)
    if (hasEnded(job.status)) {
      await removeJob(job.id)
      return { message: 'Job deleted' }
    }
    return { message: await store.cancel(job.id) === 'cancelled' ? 'Job cancelled' : 'Job is being cancelled' }
  })
}

export default jobs

const notAvailable = () => new ServiceError('job_result_not_available', 'Job result not available')

/** A job that is not there, and images that are gone, are all the same here. */
function unavailable (error: unknown): never {
  if (error instanceof ServiceError && error.status === 404) throw notAvailable()
  throw error
}
