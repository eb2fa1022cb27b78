import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { hasEnded } from '../../schemas/job-status.ts'
import { userId } from '../../schemas/studio-generation.ts'
import { StudioJobParameters, studioErrors, type StudioJob } from '../../schemas/studio-job.ts'
import { maySeeJob } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import { userOf } from './sessions.ts'
import { createWatching, type Watch } from './watched-views.ts'

/** What is watched: a job, or all of a batch as one. */
interface Watched {
  readonly jobIds: ReadonlySet<string>
  readonly view: StudioJob
}

const config = { access: { scope: 'jobs:read', bucket: 'status', ticket: true } } as const
const answers = {
  101: Type.Null({ description: 'The socket is open.' }),
  426: Type.Null({ description: 'This is for WebSocket only.' })
}
/** Jobs of a user that a socket shows at first. */
const mostAtFirst = 200
/** Jobs of which it is remembered whose they are. */
const mostRemembered = 2000

/** Jobs as `GET /jobs/{id}` gives them, over WebSocket. */
const socketRoutes: FastifyPluginAsync = async app => {
  const { studioViews: views, batches, userHistory: history, jobStore: store, feed } = app
  const watch = createWatching(app, feed)
  const failed = (request: FastifyRequest) => (error: unknown) => {
    request.log.debug({ err: error }, 'jobs that are watched cannot be read')
  }

  app.route({
    method: 'GET',
    url: '/ws/jobs/:job_id',
    config,
    exposeHeadRoute: false,
    schema: {
      operationId: 'studio_job_socket',
      tags: ['Studio'],
      summary: 'Watch a job or a batch over a WebSocket',
      description: 'Messages are the job as in `GET /jobs/{job_id}`, with `type`: `snapshot` first, then `progress` ' +
        'at each change, last `completed` or `failed`, after which the socket closes with 1000.',
      params: StudioJobParameters,
      response: { ...answers, ...studioErrors(404) }
    },
    preValidation: async (request, reply) => {
      reply.hold('listening')
      if (await readable(request) === null) throw new ServiceError('job_not_found', 'Job not found')
    },
    handler: async (_request, reply) => await reply.code(426).header('upgrade', 'websocket').send(null),
    wsHandler: (socket, request) => { watch(socket, ofJob(request), failed(request)) }
  })

  app.route({
    method: 'GET',
    url: '/ws/users/:user_id',
    config,
    exposeHeadRoute: false,
    schema: {
      operationId: 'studio_user_socket',
      tags: ['Studio'],
      summary: 'Watch all jobs of a user over a WebSocket',
      description: 'The same messages for every job of the user: unfinished ones, and those that are still to ' +
        'come. The socket stays open; batches come as their single jobs.',
      params: Type.Object({ user_id: userId }),
      response: { ...answers, ...studioErrors() }
    },
    preValidation: async (_request, reply) => { reply.hold('listening') },
    handler: async (_request, reply) => await reply.code(426).header('upgrade', 'websocket').send(null),
    wsHandler: (socket, request) => { watch(socket, ofUser(request), failed(request)) }
  })

  /** The job or batch as the caller may see it now; null for one that is not there, or another's. */
  async function readable (request: FastifyRequest): Promise<Watched | null> {
    const { job_id: id } = request.params as { job_id: string }
    const job = await store.find(id)
    const batch = job === null ? await batches.find(id) : null
    const owned = job ?? batch
    if (owned === null || !maySeeJob(request.principal, owned.keyId)) return null
    if (batch === null) return job === null ? null : { jobIds: new Set([id]), view: await views.job(job) }
    const jobIds = new Set(batch.cells.map(({ jobId }) => jobId))
    return { jobIds, view: await views.batchAsJob(batch, await batches.jobs(batch)) }
  }

  function ofJob (request: FastifyRequest): Watch {
    const { job_id: id } = request.params as { job_id: string }
    /** Whose changes matter; until that is known, everyone's. */
    let jobIds: Watched['jobIds'] | null = null
    return {
      after: 'close',
      begin: async () => [id],
      concerns: ({ jobId }) => jobId !== null && jobIds?.has(jobId) !== false ? id : null,
      async view () {
        const watched = await readable(request)
        jobIds = watched?.jobIds ?? null
        return watched?.view ?? null
      }
    }
  }

  function ofUser (request: FastifyRequest): Watch {
    const user = userOf(request)
    const { keyId: ownKey } = request.principal
    const known = new Map<string, boolean>()

    async function isTheirs (jobId: string): Promise<boolean> {
      const before = known.get(jobId)
      if (before !== undefined) return before
      const found = await history.has(user, jobId)
      if (known.size >= mostRemembered) known.clear()
      known.set(jobId, found)
      return found
    }

    return {
      after: 'go on',
      async begin () {
        const { jobs } = await history.page(user, 0, mostAtFirst)
        return jobs.filter(({ status }) => !hasEnded(status)).map(({ id }) => id)
      },
      async concerns ({ jobId, keyId }) {
        return jobId !== null && keyId === ownKey && await isTheirs(jobId) ? jobId : null
      },
      async view (id) {
        const job = await store.find(id)
        return job === null ? null : await views.job(job)
      }
    }
  }
}

export default socketRoutes
