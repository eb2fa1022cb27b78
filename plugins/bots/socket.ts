import type { WebSocket } from '@fastify/websocket'
import { Type } from '@sinclair/typebox'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import { userId } from '../../schemas/bots-generation.ts'
import { botErrors, type BotJob, BotJobParameters } from '../../schemas/bots-job.ts'
import { hasEnded } from '../../schemas/job.ts'
import { maySeeJob } from '../../src/access/principal.ts'
import type { EventBus } from '../../src/events/event-bus.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { userOf } from './sessions.ts'

/** The views of a socket: one after the other, of jobs or of batches that look like one. */
interface Watch {
  /** Ids of the first views, also sent again after missed events. */
  begin (): Promise<readonly string[]>
  /** Id of the view that an event changes; null for none. */
  concerns (event: ServiceEvent): Promise<string | null> | string | null
  /** Its present state; null if it was removed. */
  view (id: string): Promise<BotJob | null>
  /** Called when a view was removed or is finished. */
  readonly after: 'close' | 'go on'
}

/** Replaces the text of a finished view. */
const over = 'over'
/** RFC 6455, §7.4.1, and what was registered since: normal end, our own fault, service restart. */
const normalEnd = 1000
const ownFault = 1011
const serviceRestart = 1012
/** Interval of pings to the client, in milliseconds. */
const pingMs = 20_000
/** Limit of bytes that wait for a reader; a slower one gets the next view when it has caught up. */
const maxWaiting = 64 * 1024

/**
 * Sends views over sockets: each at once and at every change, until its end. Each notice reads the view again, so a
 * missed one does not matter.
 * @returns a function that starts one socket; `failed` gets reading errors
 */
function createWatching (app: FastifyInstance, eventBus: Pick<EventBus, 'listen'>) {
  const open = new Set<WebSocket>()
  app.addHook('preClose', async () => {
    for (const socket of open) socket.close(serviceRestart, 'the service stops')
  })

  return function begin (socket: WebSocket, watch: Watch, failed: (error: unknown) => void): void {
    /** The last sent text of each view; `over` after its end, which is sent once. */
    const shown = new Map<string, string>()
    const changed = new Set<string>()
    let looking = false

    async function show (id: string): Promise<void> {
      const view = await watch.view(id)
      if (view === null) {
        shown.delete(id)
        if (watch.after === 'close') socket.close(normalEnd, 'the job was deleted')
        return
      }
      const isOver = view.status === 'completed' || view.status === 'failed'
      const text = isOver ? over : stringifyJson(view)
      const before = shown.get(id)
      if (text !== before && (isOver || socket.bufferedAmount < maxWaiting)) {
        shown.set(id, text)
        const type = isOver ? view.status : before === undefined || before === over ? 'snapshot' : 'progress'
        socket.send(stringifyJson({ ...view, type }))
      }
      if (isOver && watch.after === 'close') socket.close(normalEnd, view.status)
    }

    /** One read at a time; further notices lead to one more. */
    async function look (): Promise<void> {
      if (looking) return
      looking = true
      try {
        for (const id of changed) {
          changed.delete(id)
          if (socket.readyState === socket.OPEN) await show(id)
        }
      } finally {
        looking = false
      }
    }

    function note (ids: Promise<readonly string[]>): void {
      ids.then(async found => {
        for (const id of found) changed.add(id)
        await look()
      }).catch(error => {
        failed(error)
        socket.close(ownFault, 'the jobs cannot be read just now')
      })
    }

    async function concerned (event: ServiceEvent): Promise<string[]> {
      const id = await watch.concerns(event)
      return id === null ? [] : [id]
    }

    async function lookAgain (): Promise<string[]> {
      const goingOn = [...shown].flatMap(([id, text]) => text === over ? [] : id)
      return [...goingOn, ...await watch.begin()]
    }

    const stop = eventBus.listen({
      onEvent: event => { note(concerned(event)) },
      onGap: () => { note(lookAgain()) }
    })
    const ping = setInterval(() => { socket.ping() }, pingMs)
    open.add(socket)
    socket.on('close', () => {
      open.delete(socket)
      clearInterval(ping)
      stop()
    })
    note(watch.begin())
  }
}

/** The subject: a job, or all of a batch as one. */
interface Watched {
  readonly jobIds: ReadonlySet<string>
  readonly view: BotJob
}

const config = { access: { scope: 'jobs:read', bucket: 'status', ticket: true }, noHead: true } as const
const answers = {
  101: Type.Null({ description: 'The socket is open.' }),
  426: Type.Null({ description: 'This is for WebSocket only.' })
}
/** Number of a user's jobs that a socket shows first. */
const maxAtFirst = 200
/** Number of jobs whose users are cached. */
const maxRemembered = 2000

/** Jobs as `GET /jobs/{id}` gives them, over WebSocket. */
const socketRoutes: FastifyPluginAsync = async app => {
  const { botViews: views, batches, userHistory: history, jobStore: store, eventBus } = app
  const watch = createWatching(app, eventBus)
  const failed = (request: FastifyRequest) => (error: unknown) => {
    request.log.debug({ err: error }, 'jobs that are watched cannot be read')
  }

  app.route({
    method: 'GET',
    url: '/ws/jobs/:job_id',
    config,
    schema: {
      operationId: 'studio_job_socket',
      tags: ['Studio'],
      summary: 'Watch a job or a batch over a WebSocket',
      description: 'Messages are the job as in `GET /jobs/{job_id}`, with `type`: `snapshot` first, then `progress` ' +
        'at each change, last `completed` or `failed`, after which the socket closes with 1000.',
      params: BotJobParameters,
      response: { ...answers, ...botErrors(404) }
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
    schema: {
      operationId: 'studio_user_socket',
      tags: ['Studio'],
      summary: 'Watch all jobs of a user over a WebSocket',
      description: 'The same messages for every job of the user: unfinished ones, and those that are still to ' +
        'come. The socket stays open; batches come as their single jobs.',
      params: Type.Object({ user_id: userId }),
      response: { ...answers, ...botErrors() }
    },
    preValidation: async (_request, reply) => { reply.hold('listening') },
    handler: async (_request, reply) => await reply.code(426).header('upgrade', 'websocket').send(null),
    wsHandler: (socket, request) => { watch(socket, ofUser(request), failed(request)) }
  })

  /** The job or batch as the client can see it now; null for a missing one, or another's. */
  async function readable (request: FastifyRequest): Promise<Watched | null> {
    const { job_id: id } = request.params as { job_id: string }
    const job = await store.find(id)
    const batch = job === null ? await batches.find(id) : null
    const owned = job ?? batch
    if (owned === null || !maySeeJob(request.principal, owned.keyId)) return null
    if (batch === null) return job === null ? null : { jobIds: new Set([id]), view: await views.job(job, request.base) }
    const jobIds = new Set(batch.cells.map(({ jobId }) => jobId))
    return { jobIds, view: await views.batchAsJob(batch, await batches.jobs(batch), request.base) }
  }

  function ofJob (request: FastifyRequest): Watch {
    const { job_id: id } = request.params as { job_id: string }
    /** Users whose changes matter; all until they are known. */
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
      if (known.size >= maxRemembered) known.clear()
      known.set(jobId, found)
      return found
    }

    return {
      after: 'go on',
      async begin () {
        const { jobs } = await history.page(user, 0, maxAtFirst)
        return jobs.filter(({ status }) => !hasEnded(status)).map(({ id }) => id)
      },
      async concerns ({ jobId, keyId }) {
        return jobId !== null && keyId === ownKey && await isTheirs(jobId) ? jobId : null
      },
      async view (id) {
        const job = await store.find(id)
        return job === null ? null : await views.job(job, request.base)
      }
    }
  }
}

export default socketRoutes
