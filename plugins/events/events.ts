import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { EventQuery, EventView, JobEventQuery, LastEventIdHeader, TicketAnswer } from '../../schemas/event.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { maySeeJob, requireImages } from '../../src/access/principal.ts'
import { audienceOf, wantsPreviews } from '../../src/events/filter.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { jobBases } from '../api/job-views.ts'
import { emptyAnswer, emptyIfMissing, missingParameter } from '../core/empty-if-missing.ts'
import { disconnectSignal } from '../core/held-requests.ts'
import { openEventStream } from './event-stream.ts'
import { createStreamGroups } from './stream-groups.ts'
import { prepareAll } from './subscriber.ts'

/** The answer's head; no proxy may cache or buffer the stream. */
function startAnswer (reply: FastifyReply): FastifyReply {
  return reply.headers({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no'
  })
}

/** The answer of every streaming route. */
const streamAnswer = {
  description: 'Events, one after the other: `id`, `event` (the kind) and `data`, a JSON object.',
  content: { 'text/event-stream': { schema: Ref(EventView) } }
}

/** The client's position: its header, which browsers update, goes before the address that it first requested. */
function placeOf (headers: LastEventIdHeader, query: { lastEventId?: string }): string | null {
  return headers['last-event-id'] || query.lastEventId || null
}

const events: FastifyPluginAsyncTypebox = async app => {
  const { eventBus, connections, tickets, registry, eventViews: views, previews } = app
  const groups = createStreamGroups({ eventBus, views })

  app.get('/api/v1/events', {
    config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true }, noHead: true },
    schema: {
      operationId: 'events.listen',
      tags: ['Events'],
      summary: 'Listen to all events',
      description: 'Server-sent events about jobs and, with servers:read, about servers. A key gets the events of its own jobs ' +
        'only, unless it has jobs:read:all. A client that reconnects with the id of its last event gets the later ones, ' +
        'from any process; if they are no longer stored, it gets `reset`. A comment comes every 15 ' +
        'seconds. The service disconnects slow readers and ends an answer after an hour: connect again.',
      querystring: EventQuery,
      headers: LastEventIdHeader,
      response: { 200: streamAnswer, ...errorResponses(404) }
    }
  }, async (request, reply) => {
    const audience = audienceOf(request.query, request.principal, registry)
    reply.hold('listening')
    connections.admit()
    const sendEvents = await prepareAll({ eventBus, asked: placeOf(request.headers, request.query), audience })
    const stream = openEventStream(views, request.base, reply.raw)
    connections.add({ principal: request.principal, ...stream })
    if (wantsPreviews(request.query)) previews.watch(null, stream.signal)
    sendEvents(stream, () => { groups.join(stream, audience) }).catch(error => {
      request.log.debug({ err: error }, 'missed events cannot be read')
      stream.end()
    })
    return await startAnswer(reply).send(stream.body)
  })

  app.post('/api/v1/events/ticket', {
    config: { access: { scope: 'jobs:read' } },
    schema: {
      operationId: 'events.createTicket',
      tags: ['Events'],
      summary: 'Get a ticket for one connection',
      description: 'For browsers, which cannot set headers for EventSource and WebSocket: `?ticket=` replaces the ' +
        'credentials of this request, once and within a minute. Takes no fields.',
      response: { 200: { ...Ref(TicketAnswer), description: 'The ticket.' }, ...errorResponses() }
    }
  }, async (request, reply) => {
    const { ticket, expiresAt } = await tickets.issue(request.principal)
    reply.header('cache-control', 'no-store')
    return { success: true as const, ticket, expires_at: new Date(expiresAt).toISOString() }
  })
}

export default events

/** One job's events until its end. */
export const jobEvents: FastifyPluginAsyncTypebox = async app => {
  const { connections, eventViews: views, previews, jobEventSender } = app

  for (const { base } of jobBases) {
    app.get(`${base}/:jobId/events`, {
      config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true }, noHead: true },
      schema: {
        operationId: 'jobs.listen',
        tags: ['Events'],
        summary: 'Listen to one job until its end',
        description: 'Server-sent events: first `snapshot`, the present job, then its events, last its end, which ' +
          'is also sent to clients that connect later. A client that has received the end and reconnects, as browsers ' +
          'do, gets 204, which stops it.',
        params: JobIdParameters,
        querystring: JobEventQuery,
        headers: LastEventIdHeader,
        response: {
          200: streamAnswer,
          204: Type.Null({ description: 'The client knows the end already.' }),
          ...errorResponses(404)
        }
      }
    }, async (request, reply) => {
      const { params: { jobId }, query, headers, principal } = request
      reply.hold('listening')
      connections.admit()
      const sendEvents = await jobEventSender.prepare({
        jobId, asked: placeOf(headers, query), kinds: query.kinds
      }, principal)
      if (sendEvents === null) return await reply.code(204).send(null)
      const stream = openEventStream(views, request.base, reply.raw)
      connections.add({ principal, ...stream })
      if (wantsPreviews(query)) previews.watch(jobId, stream.signal)
      sendEvents(stream).catch(error => {
        request.log.debug({ err: error }, 'the events of a job cannot be read')
        stream.end()
      })
      return await startAnswer(reply).send(stream.body)
    })
  }
}

/** Longest wait for the first preview, in milliseconds: servers generate one every few steps. */
const patience = 5000

/** The preview of a running job. */
export const preview: FastifyPluginAsyncTypebox = async app => {
  const { previews, jobStore: store } = app

  for (const { base } of jobBases) {
    app.get(`${base}/:jobId/preview`, {
      config: { access: { scope: 'jobs:read', bucket: 'status' }, noHead: true },
      errorHandler: emptyIfMissing,
      schema: {
        operationId: 'jobs.getPreview',
        tags: ['Events'],
        summary: 'See a running job',
        description: 'The unfinished picture of its server, as a JPEG of up to 512 pixels; 404 unless the job runs and its ' +
          'server shows previews. With `kinds=preview`, an event reports each new one.',
        params: JobIdParameters,
        querystring: Type.Object({
          v: Type.Optional(Type.String({ maxLength: 20, description: 'From the event; makes browsers fetch it again.' })),
          ...missingParameter
        }),
        response: {
          200: {
            description: 'The picture.', content: { 'image/jpeg': { schema: { type: 'string', format: 'binary' } } }
          },
          ...emptyAnswer,
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
        ? await withDeadline(patience, [disconnectSignal(reply)], async signal => await previews.see(jobId, signal))
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
