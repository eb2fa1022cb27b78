import { Readable } from 'node:stream'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import { mayCancelJob, maySeeJob, requireImages } from '../../src/access/principal.ts'
import { optional, readModel } from '../../src/fastapi/model.ts'
import { pydantic1 } from '../../src/fastapi/pydantic1.ts'
import type { Job, JobImage } from '../../src/jobs/job.ts'
import { checkImages } from '../../src/jobs/outcome.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { imageList, infoText } from '../../src/sdapi/answer.ts'
import { assetView, createdAt, isAsset, orderAsset, readKind } from '../../src/sdapi/assets.ts'
import {
  failureEntry, florenceWorkflow, listEntry, proxyProgress, proxyStates, timestampOf, trackerId, trackerStates,
  workflows
} from '../../src/sdapi/status-mapping.ts'
import { type BasePath, isProxyClient, sendJson } from './call.ts'

export interface JobsOptions {
  /** The path before `/sdapi/v1`. */
  readonly path: BasePath
}

const reading = { access: { scope: 'jobs:read', bucket: 'status' } } as const
const defaultLimit = 50
/** async-proxy's own bounds of `/errors`. */
const errorLimits = { usual: 50, most: 100, instead: 20 }

const trackerQuery = {
  ip: optional('string'), status: optional('string'), after: optional('integer'), limit: optional('integer', defaultLimit)
}

/** Jobs in the forms of the Job Tracker's and async-proxy's clients; see docs/drop-in-reference.md. */
const jobs: FastifyPluginAsync<JobsOptions> = async (app, { path }) => {
  const { shortIds, jobSearch: search, backgroundTasks, florence, jobStore: store, media, config, retention } = app
  const described = (name: string, summary: string) => ({ tags: ['A1111'], operationId: `a1111_${name}`, summary })

  /** By either id; null if there is none or it is another's. */
  async function find (request: FastifyRequest, allowed: typeof maySeeJob): Promise<Job | null> {
    const { id } = request.params as { id: string }
    const job = await store.find(await shortIds.resolve(id))
    return job !== null && allowed(request.principal, job.keyId) ? job : null
  }

  async function sendWithImages (reply: FastifyReply, job: Job, before: object, behind: object): Promise<FastifyReply> {
    await checkImages(media, job)
    return await sendImages(reply, job.status === 'completed' ? job.result?.images ?? [] : [], before, behind)
  }

  /** An object whose images are streamed from the store, between the text before and after them. */
  async function sendImages (
    reply: FastifyReply, images: ReadonlyArray<Pick<JobImage, 'name'>>, before: object, behind: object
  ): Promise<FastifyReply> {
    if (images.length > 0) requireImages(reply.request.principal)
    async function * pieces (): AsyncGenerator<string> {
      yield `${stringifyJson(before).slice(0, -1)},"images":`
      yield * imageList(media, images)
      yield Object.keys(behind).length === 0 ? '}' : `,${stringifyJson(behind).slice(1)}`
    }
    return await reply.type('application/json').send(Readable.from(pieces(), { highWaterMark: 1 }))
  }

  app.get('/job/:id', {
    config: reading, schema: described('job', 'A job with its images, as the Job Tracker answers')
  }, async (request, reply) => {
    const job = await find(request, maySeeJob)
    if (job === null) return sendJson(reply.code(404), { error: 'Job not found' })
    return await sendWithImages(reply, job, {
      id: trackerId(job),
      prompt: job.submission.parameters.prompt ?? '',
      status: trackerStates[job.status],
      timestamp: timestampOf(job),
      ...(trackerStates[job.status] === 'Failed' ? { error: job.error?.message ?? 'The job was cancelled.' } : {})
    }, {})
  })

  app.get('/jobs', {
    config: reading, schema: described('jobs', 'Jobs, as the Job Tracker or as async-proxy lists them')
  }, async (request, reply) => {
    const query = request.query as Record<string, unknown>
    const asksTracker = Object.keys(trackerQuery).some(name => name in query)
    const isProxy = isProxyClient(request, config) || request.principal.dropIn.answer === 'async'
    const asksProxy = path === 'async' || (path === 'plain' && isProxy)
    const found = asksProxy && !asksTracker
      ? await search.current(request.principal)
      : await search.tracked(request.principal, readTrackerQuery(query))
    return sendJson(reply, found.map(job => listEntry(job, request.base)))
  })

  async function sendErrand (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { id } = request.params as { id: string }
    const backgroundTask = await backgroundTasks.find(request.principal, id)
    if (backgroundTask === null) return sendJson(reply.code(404), { error: 'Not found' })
    const { state, progress, failure, info, images } = backgroundTask
    return await sendImages(reply, images.map(name => ({ name })), { uuid: id, job_status: state, progress },
      { info: failure ?? info })
  }

  app.get('/jobs/:id', {
    config: reading, schema: described('jobs_one', 'A job with its images, as async-proxy answers')
  }, async (request, reply) => {
    const job = await find(request, maySeeJob)
    if (job === null) return await sendErrand(request, reply)
    const info = job.status === 'completed' ? infoText(job) : job.error?.message ?? null
    return await sendWithImages(reply, job, {
      uuid: job.id, job_status: proxyStates[job.status], progress: proxyProgress(job)
    }, job.result?.tags === undefined ? { info } : { info, tags: job.result.tags })
  })

  app.delete('/jobs/:id', {
    config: { access: { scope: 'jobs:write' } }, schema: described('jobs_cancel', 'Cancel a job')
  }, async (request, reply) => {
    const job = await find(request, mayCancelJob)
    const done = job === null
      ? await backgroundTasks.cancel(request.principal, (request.params as { id: string }).id)
      : job.status === 'cancelled' || await cancelled(job.id)
    return await reply.code(done ? 204 : 404).send()
  })

  async function cancelled (id: string): Promise<boolean> {
    try {
      await store.cancel(id)
      return true
    } catch (error) {
      if (error instanceof ServiceError && error.status < 500) return false
      throw error
    }
  }

  app.post('/jobs/purge', {
    config: { access: { scope: 'queue:admin' } },
    schema: described('jobs_purge', 'Remove jobs that are older than TRACKER_RETENTION now')
  }, async (_request, reply) => {
    const { jobs: removed } = await retention.purge({ days: 0, jobs: 0, dropInDays: config.TRACKER_RETENTION })
    return sendJson(reply, { removed })
  })

  app.get('/errors', {
    config: reading, schema: described('errors', 'Failed jobs, as async-proxy lists them')
  }, async (request, reply) => {
    const { limit } = request.query as { limit?: string }
    return sendJson(reply, (await search.failed(request.principal, errorLimit(limit))).map(failureEntry))
  })

  app.get('/workflows', {
    config: reading, schema: described('workflows', 'The progress of jobs, as in async-proxy')
  }, async (_request, reply) => sendJson(reply, florence === null ? workflows : [...workflows, florenceWorkflow]))
}

export default jobs

function errorLimit (text: string | undefined): number {
  if (text === undefined) return errorLimits.usual
  const number = Math.trunc(Number(text))
  return Number.isFinite(number) && number !== 0 ? Math.min(Math.max(number, 1), errorLimits.most) : errorLimits.instead
}

/** @throws ValidationFailure as A1111's own routes do */
function readTrackerQuery (query: Readonly<Record<string, unknown>>) {
  const { ip, status, after, limit } = readModel(pydantic1, trackerQuery, { ...query }, 'query')
  return {
    ip: ip as string | null,
    status: status as string | null,
    after: after as number | null,
    limit: limit as number | null ?? defaultLimit
  }
}

/** async-proxy's assets: downloading checkpoints and LoRAs, and listing them. Its uploads never existed. */
export const assets: FastifyPluginAsync = async app => {
  const { config, catalogue, downloads, civitai } = app
  const reading = { access: { scope: 'models:read' } } as const
  const described = (name: string, summary: string, description = '') =>
    ({ tags: ['A1111'], operationId: `a1111_assets${name}`, summary, ...(description === '' ? {} : { description }) })

  app.post('/assets/download', {
    config: { access: { scope: 'models:write' } },
    schema: described('_download', 'Download a checkpoint or LoRA, as async-proxy does',
      'Takes `kind` (model or lora) and `url`: a page or file at Civitai, a file at HuggingFace, or an AIR. The answer is ' +
      '202 with the `uuid` of a job.')
  }, async (request, reply) => {
    try {
      const { id } = await orderAsset(request.body, {
        downloads, civitai, civitaiUrl: config.CIVITAI_BASE_URL, huggingFaceUrl: config.HUGGINGFACE_BASE_URL
      })
      return sendJson(reply.code(202).header('location', `/sdapi/v1/jobs/${id}`), { uuid: id })
    } catch (error) {
      return refuse(error, reply)
    }
  })

  app.get('/assets', {
    config: reading, schema: described('', 'Checkpoints and LoRAs in the model folders, newest first')
  }, async (request, reply) => {
    try {
      const { kind } = request.query as { kind?: string }
      const wanted = kind === undefined ? null : readKind(kind)
      const found = (await catalogue.state()).models.filter(model => isAsset(model, wanted))
      return sendJson(reply, found.toSorted((one, other) => createdAt(other) - createdAt(one)).map(assetView))
    } catch (error) {
      return refuse(error, reply)
    }
  })

  app.get('/assets/:id', { config: reading, schema: described('_one', 'One of them') }, async (request, reply) => {
    const { id } = request.params as { id: string }
    const found = (await catalogue.state()).models.find(model => String(model.id) === id && isAsset(model, null))
    return found === undefined ? sendJson(reply.code(404), { error: 'Not found' }) : sendJson(reply, assetView(found))
  })
}

/** async-proxy's clients read `error`. */
function refuse (error: unknown, reply: FastifyReply): FastifyReply {
  if (!(error instanceof ServiceError) || error.status >= 500) throw error
  return sendJson(reply.code(error.status), { error: error.message })
}
