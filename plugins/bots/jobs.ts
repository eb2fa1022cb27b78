import { Readable } from 'node:stream'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import {
  BotDone, botErrors, BotJob, BotJobParameters, BotModels, BotQueue, BotResult, BotResultQuery
} from '../../schemas/bots-job.ts'
import { BotMessage } from '../../schemas/bots-settings.ts'
import { hasEnded, JobWaitQuery } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { mayCancelJob, maySeeJob, type Principal, requireImages } from '../../src/access/principal.ts'
import { type Batch, batchAsJob, batchHasEnded } from '../../src/bots/batches.ts'
import { type ImageFormat, botBatchResult, botQueue, botResult } from '../../src/bots/job-view.ts'
import { readFields } from '../../src/bots/read-fields.ts'
import type { Job } from '../../src/jobs/job.ts'
import { checkImages } from '../../src/jobs/outcome.ts'
import { ignoring, ServiceError } from '../../src/lib/errors.ts'
import { inventoriesOf, unionOfLists } from '../../src/models/servers.ts'
import { disconnectSignal, keepLastAnswers } from '../core/held-requests.ts'

const tags = ['Studio']
const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const writing = { access: { scope: 'jobs:write' } } as const

/** Watching jobs, fetching their images, cancelling them. */
const jobs: FastifyPluginAsync = async app => {
  const { waitForJob: wait, jobStore: store, media, batches, botViews: views, cancelAll, removeJob } = app
  const keepAnswer = keepLastAnswers(app)

  /** The job, if the client has this right on it; another's job is answered as not found. */
  async function find (request: FastifyRequest, allowed: typeof maySeeJob): Promise<Job> {
    const job = await store.find(idOf(request))
    if (job === null || !allowed(request.principal, job.keyId)) throw new ServiceError('job_not_found', 'Job not found')
    return job
  }

  /** The batch of that id with its jobs; null without one on which the client has this right. */
  async function findBatch (request: FastifyRequest, allowed: typeof maySeeJob) {
    const batch = await batches.find(idOf(request))
    if (batch === null || !allowed(request.principal, batch.keyId)) return null
    return { batch, jobs: await batches.jobs(batch) }
  }

  /** Until all of them have finished, were deleted or the seconds are over. */
  async function waitFor (jobs: ReadonlyArray<Job | null>, seconds: number, gone: AbortSignal): Promise<void> {
    const until = performance.now() + seconds * 1000
    for (const job of jobs) {
      const left = (until - performance.now()) / 1000
      if (job === null || hasEnded(job.status) || left <= 0) continue
      await wait(job.id, left, gone).catch(ignoring('job_not_found'))
    }
  }

  async function jobResult (job: Job, format: ImageFormat, principal: Principal) {
    if (!hasEnded(job.status)) throw notAvailable()
    if (job.status === 'completed') requireImages(principal)
    if (format === 'base64' && job.status === 'completed') await checkImages(media, job).catch(unavailable)
    return botResult(media, job, format)
  }

  async function batchResult (
    { batch, jobs }: { batch: Batch, jobs: ReadonlyArray<Job | null> }, format: ImageFormat, principal: Principal
  ) {
    if (!batchHasEnded(jobs)) throw notAvailable()
    const done = jobs.flatMap(job => job?.status === 'completed' ? job : [])
    if (done.length > 0) requireImages(principal)
    if (format === 'base64') for (const job of done) await checkImages(media, job).catch(unavailable)
    return botBatchResult(media, batchAsJob(batch, jobs, { seconds: null, base: '' }), done, format)
  }

  async function deleteBatch ({ batch, jobs }: { batch: Batch, jobs: ReadonlyArray<Job | null> }): Promise<string> {
    if (!batchHasEnded(jobs)) {
      await cancelAll(jobs)
      return 'Batch cancelled'
    }
    for (const job of jobs) if (job !== null) await removeJob(job.id).catch(ignoring('job_not_found'))
    await batches.remove(batch)
    return 'Batch deleted'
  }

  app.get('/:job_id', {
    config: reading,
    schema: {
      operationId: 'studio_job',
      tags,
      summary: 'A job as it is now',
      description: 'With `?wait=` the service answers when the job has finished or that many seconds are over.',
      params: BotJobParameters,
      querystring: JobWaitQuery,
      response: { 200: { ...Ref(BotJob), description: 'The job.' }, ...botErrors(404) }
    }
  }, async (request, reply) => {
    const { wait: seconds = 0 } = readFields(JobWaitQuery, request.query, ['query'])
    const found = await findBatch(request, maySeeJob)
    const jobs = found?.jobs ?? [await find(request, maySeeJob)]
    if (seconds > 0) {
      reply.hold('waiting')
      keepAnswer(reply)
      await waitFor(jobs, seconds, disconnectSignal(reply))
    }
    return found === null
      ? await views.job(await find(request, maySeeJob), request.base)
      : await views.batchAsJob(found.batch, await batches.jobs(found.batch), request.base)
  })

  app.get('/:job_id/result', {
    config: reading,
    schema: {
      operationId: 'studio_job_result',
      tags,
      summary: 'What a job made',
      description: '404 until the job has finished. A failed job answers 200 as well, with `error` and no images.',
      params: BotJobParameters,
      querystring: BotResultQuery,
      response: { 200: { ...Ref(BotResult), description: 'Images and what is known of them.' }, ...botErrors(404) }
    }
  }, async (request, reply) => {
    const asked = readFields(BotResultQuery, request.query, ['query']).format
    const format = asked === 'url' ? { base: request.base } : 'base64'
    const found = await findBatch(request, maySeeJob)
    const pieces = found === null
      ? await jobResult(await find(request, maySeeJob).catch(unavailable), format, request.principal)
      : await batchResult(found, format, request.principal)
    return reply.type('application/json').send(Readable.from(pieces, { objectMode: false }))
  })

  app.post('/:job_id/cancel', {
    config: writing,
    schema: {
      operationId: 'studio_cancel_job',
      tags,
      summary: 'End a job',
      params: BotJobParameters,
      response: { 200: { ...Ref(BotDone), description: 'It is cancelled, or being cancelled.' }, ...botErrors(404) }
    }
  }, async request => {
    const found = await findBatch(request, mayCancelJob)
    if (found !== null) {
      await cancelAll(found.jobs)
      return { message: 'Batch cancelled', job: await views.batchAsJob(found.batch, await batches.jobs(found.batch), request.base) }
    }
    const { id } = await find(request, mayCancelJob)
    const outcome = await store.cancel(id)
    const job = await views.job(await store.get(id), request.base)
    return { message: outcome === 'cancelled' ? 'Job cancelled' : 'Job is being cancelled', job }
  })

  app.delete('/:job_id', {
    config: writing,
    schema: {
      operationId: 'studio_delete_job',
      tags,
      summary: 'Delete a finished job or batch with its images, or cancel an active one',
      params: BotJobParameters,
      response: { 200: { ...Ref(BotMessage), description: 'Done.' }, ...botErrors(404) }
    }
  }, async request => {
    const found = await findBatch(request, mayCancelJob)
    if (found !== null) return { message: await deleteBatch(found) }
    const job = await find(request, mayCancelJob)
    if (hasEnded(job.status)) {
      await removeJob(job.id)
      return { message: 'Job deleted' }
    }
    return { message: await store.cancel(job.id) === 'cancelled' ? 'Job cancelled' : 'Job is being cancelled' }
  })
}

export default jobs

function idOf (request: FastifyRequest): string {
  return (request.params as { job_id: string }).job_id
}

const notAvailable = () => new ServiceError('job_result_not_available', 'Job result not available')

/** A missing job and missing images give the same answer here. */
function unavailable (error: unknown): never {
  if (error instanceof ServiceError && error.status === 404) throw notAvailable()
  throw error
}

/** How long the next job would wait. */
export const queue: FastifyPluginAsync = async app => {
  const { registry, estimates } = app

  app.get('/', {
    config: { access: { scope: 'jobs:read', bucket: 'status' } },
    schema: {
      operationId: 'studio_queue',
      tags: ['Studio'],
      summary: 'How much there is to do before the next job',
      response: { 200: { ...Ref(BotQueue), description: 'The queues of all servers.' }, ...botErrors() }
    }
  }, async () => await botQueue({ registry, estimates }))
}

/** The lists of choices. */
export const models: FastifyPluginAsync = async app => {
  const { registry, states } = app

  app.get('/', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'studio_models',
      tags: ['Studio'],
      summary: 'What all servers together have',
      response: { 200: { ...Ref(BotModels), description: 'Names, each once.' }, ...botErrors() }
    }
  }, async () => unionOfLists((await inventoriesOf(registry, states)).map(({ inventory }) => inventory)))
}
