import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { JobEventQuery, LastEventIdHeader } from '../../schemas/event.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { hasEnded } from '../../schemas/job-status.ts'
import { maySeeJob } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import { isAfter, type ServiceEvent } from '../../src/events/event.ts'
import { createEventFilter, type EventFilter } from '../../src/events/filter.ts'
import { follow } from '../../src/events/follow.ts'
import { endOf, isLast, readStory } from '../../src/events/job-story.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import { jobBases } from '../api/job-bases.ts'
import type { JobViews } from '../api/job-views.ts'
import { openEventStream, sendView, startAnswer, type EventStream } from './event-stream.ts'
import { placeOf, streamAnswer, type EventsOptions } from './events.ts'
import { resetMessage, snapshotEvent, streamEvent } from './render-event.ts'

export interface JobEventsOptions extends EventsOptions {
  readonly store: Pick<JobStore, 'find'>
  readonly jobViews: JobViews
}

/** What one request wants of one job. */
interface Wish {
  readonly jobId: string
  /** The last event that the client got; null where it is new. */
  readonly asked: string | null
  /** Every event of the job that the caller may see. */
  readonly ofJob: EventFilter
  /** Those that the caller wants to see. */
  readonly wanted: EventFilter
}

const notFound = (jobId: string) => new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })

/** One job's events until its end, which is told to everybody who asks, however late. */
const jobEvents: FastifyPluginAsyncTypebox<JobEventsOptions> = async (app, options) => {
  const { feed, connections, registry, views, store, jobViews } = options

  function wishOf (request: FastifyRequest, jobId: string, query: JobEventQuery, headers: LastEventIdHeader): Wish {
    const filter = (kinds?: string) => createEventFilter({ job: jobId, kinds }, request.principal, registry)
    return { jobId, asked: placeOf(headers, query), ofJob: filter(), wanted: filter(query.kinds) }
  }

  function send (stream: EventStream, event: ServiceEvent): void {
    stream.send(event.id, event.kind, views.text(event))
  }

  async function sendSnapshot (stream: EventStream, id: string, job: Job): Promise<void> {
    sendView(stream, snapshotEvent(id, await jobViews.one(job)))
  }

  /**
   * The whole answer about a job of which nothing more is to come; null where the client knows everything. What is
   * kept outlives the job itself.
   * @param head where the stream stood before the job was read
   */
  async function tellEnded (
    { jobId, asked, ofJob, wanted }: Wish, job: Job | null, head: string
  ): Promise<EventStream | null> {
    const { gap, events } = asked === null ? { gap: false, events: [] } : await readStory(feed.log, asked, ofJob)
    if (job === null && events.length === 0) throw notFound(jobId)
    if (asked !== null && !gap && events.length === 0) return null
    const stream = openEventStream()
    if (gap) sendView(stream, streamEvent('reset', head, resetMessage))
    if (job !== null) await sendSnapshot(stream, gap ? head : asked ?? head, job)
    for (const event of events) {
      if (wanted(event) || isLast(event)) send(stream, event)
    }
    const end = job === null || events.some(isLast) ? null : endOf(job, head)
    if (end !== null) send(stream, end)
    stream.end()
    return stream
  }

  /** @param head where the stream stood before the job was read */
  async function tellGoingOn (
    request: FastifyRequest, { jobId, asked, ofJob, wanted }: Wish, job: Job, head: string
  ): Promise<EventStream> {
    connections.admit()
    const stream = openEventStream()
    connections.add({ principal: request.principal, ...stream })
    await sendSnapshot(stream, asked ?? head, job)

    async function beginAnew (place: string): Promise<void> {
      const now = await store.find(jobId)
      if (now === null) return stream.end()
      await sendSnapshot(stream, place, now)
      const end = endOf(now, place)
      if (end === null) return
      send(stream, end)
      stream.end()
    }

    const giveUp = (error: unknown) => {
      request.log.debug({ err: error }, 'events of a job cannot be read')
      stream.end()
    }
    follow({
      feed,
      after: asked ?? head,
      accepts: ofJob,
      signal: stream.signal,
      sink: {
        event (event) {
          if (wanted(event) || isLast(event)) send(stream, event)
          // An end before the job was read was undone by a retry.
          if (isLast(event) && event.id !== null && isAfter(event.id, head)) stream.end()
        },
        reset (place) {
          sendView(stream, streamEvent('reset', place, resetMessage))
          beginAnew(place).catch(giveUp)
        },
        ready: stream.ready
      }
    }).catch(giveUp)
    return stream
  }

  async function listen (request: FastifyRequest, reply: FastifyReply, wish: Wish): Promise<FastifyReply> {
    const head = await feed.log.head()
    const job = await store.find(wish.jobId)
    if (job !== null && !maySeeJob(request.principal, job.keyId)) throw notFound(wish.jobId)
    const stream = job === null || hasEnded(job.status)
      ? await tellEnded(wish, job, head)
      : await tellGoingOn(request, wish, job, head)
    return stream === null ? await reply.code(204).send() : await startAnswer(reply).send(stream.body)
  }

  for (const { base, name } of jobBases) {
    app.get(`${base}/:jobId/events`, {
      config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true } },
      exposeHeadRoute: false,
      schema: {
        operationId: `listen_to_job_${name}`,
        tags: ['Events'],
        summary: 'Listen to one job until its end',
        description: 'Server-sent events: first `snapshot`, the job as it is, then what happens, last its end, which ' +
          'is told also to those who come after it. Whoever has heard the end and comes again, as browsers do by ' +
          'themselves, gets 204, which tells them to stop.',
        params: JobIdParameters,
        querystring: JobEventQuery,
        headers: LastEventIdHeader,
        response: {
          200: streamAnswer,
          204: Type.Null({ description: 'The client knows the end already.' }),
          ...errorResponses(404)
        }
      }
    }, async (request, reply) => await listen(request, reply,
      wishOf(request, request.params.jobId, request.query, request.headers)))
  }
}

export default jobEvents
