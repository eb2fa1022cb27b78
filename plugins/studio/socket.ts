import type { WebSocket } from '@fastify/websocket'
import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { StudioJobParameters, studioErrors, type StudioJob } from '../../schemas/studio-job.ts'
import { maySeeJob } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import type { EventFeed } from '../../src/events/feed.ts'
import type { Studio } from '../../src/studio/studio.ts'

export interface SocketOptions {
  readonly studio: Studio
  readonly feed: Pick<EventFeed, 'listen'>
}

/** RFC 6455, §7.4.1, and what was registered since: normal end, our own fault, service restart. */
const normalEnd = 1000
const ownFault = 1011
const serviceRestart = 1012
/** How often the other end is asked whether it is there, in milliseconds. */
const pingMs = 20_000
/** Most bytes that wait for a reader; one that is slower gets the next view when it has caught up. */
const mostWaiting = 64 * 1024

/** What is watched: a job, or all of a batch as one. */
interface Watched {
  readonly jobIds: ReadonlySet<string>
  readonly view: StudioJob
}

/**
 * The job as it is, at once and at every change, until its end: the same numbers as `GET /jobs/{id}`. A view is read
 * anew at each notice, so that none which was missed can matter.
 */
const socketRoute: FastifyPluginAsync<SocketOptions> = async (app, { studio, feed }) => {
  const open = new Set<WebSocket>()
  app.addHook('preClose', async () => {
    for (const socket of open) socket.close(serviceRestart, 'the service stops')
  })

  app.route({
    method: 'GET',
    url: '/ws/jobs/:job_id',
    config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true } },
    exposeHeadRoute: false,
    schema: {
      operationId: 'studio_job_socket',
      tags: ['Studio'],
      summary: 'Watch a job or a batch over a WebSocket',
      description: 'Messages are the job as `GET /jobs/{job_id}` gives it, with `type`: `snapshot` first, then `progress` ' +
        'at each change, last `completed` or `failed`, after which the socket closes with 1000.',
      params: StudioJobParameters,
      response: {
        101: Type.Null({ description: 'The socket is open.' }),
        426: Type.Null({ description: 'This is for WebSocket only.' }),
        ...studioErrors(404)
      }
    },
    preValidation: async request => {
      if (await readable(request) === null) throw new ServiceError('job_not_found', 'Job not found')
    },
    handler: async (_request, reply) => await reply.code(426).header('upgrade', 'websocket').send(null),
    wsHandler: (socket, request) => { watch(socket, request) }
  })

  /** The job or batch as the caller may see it now; null for one that is not there, or another's. */
  async function readable (request: FastifyRequest): Promise<Watched | null> {
    const { job_id: id } = request.params as { job_id: string }
    const { views, batches, house: { store } } = studio
    const job = await store.find(id)
    const batch = job === null ? await batches.find(id) : null
    const owned = job ?? batch
    if (owned === null || !maySeeJob(request.principal, owned.keyId)) return null
    if (batch === null) return job === null ? null : { jobIds: new Set([id]), view: await views.job(job) }
    const jobIds = new Set(batch.cells.map(({ jobId }) => jobId))
    return { jobIds, view: await views.batchAsJob(batch, await batches.jobs(batch)) }
  }

  function watch (socket: WebSocket, request: FastifyRequest): void {
    /** Whose changes matter; until that is known, everyone's. */
    let jobIds: Watched['jobIds'] | null = null
    let shown = ''
    let looking = false
    let again = false

    async function show (): Promise<void> {
      const watched = await readable(request)
      if (watched === null) return socket.close(normalEnd, 'the job was deleted')
      const { view } = watched
      jobIds = watched.jobIds
      const text = JSON.stringify(view)
      const isOver = view.status === 'completed' || view.status === 'failed'
      if (text !== shown && (isOver || socket.bufferedAmount < mostWaiting)) {
        const type = isOver ? view.status : shown === '' ? 'snapshot' : 'progress'
        shown = text
        socket.send(JSON.stringify({ ...view, type }))
      }
      if (isOver) socket.close(normalEnd, view.status)
    }

    /** One look at a time; whatever is heard meanwhile leads to one more. */
    function look (): void {
      again = looking
      if (looking || socket.readyState !== socket.OPEN) return
      looking = true
      show().catch(error => {
        request.log.debug({ err: error }, 'a job that is watched cannot be read')
        socket.close(ownFault, 'the job cannot be read just now')
      }).finally(() => {
        looking = false
        if (again) look()
      })
    }

    const stop = feed.listen({
      heard: ({ jobId }) => { if (jobId !== null && jobIds?.has(jobId) !== false) look() },
      lost: look
    })
    const ping = setInterval(() => { socket.ping() }, pingMs)
    open.add(socket)
    socket.on('close', () => {
      open.delete(socket)
      clearInterval(ping)
      stop()
    })
    look()
  }
}

export default socketRoute
