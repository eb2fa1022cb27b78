import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { EventQuery, EventView, JobEventQuery, LastEventIdHeader, TicketAnswer } from '../../schemas/event.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { maySeeJob, requireImages } from '../../src/access/principal.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import { createEventFilter, wantsPreviews } from '../../src/events/filter.ts'
import { isLast } from '../../src/jobs/history.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { jobBases } from '../api/job-views.ts'
import { disconnectSignal } from '../core/held-requests.ts'
import type { EventViews } from './render-event.ts'
import { type EventSubscriber, prepareAll } from './subscriber.ts'

/** One answer of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
interface EventStream extends EventSubscriber {
  /** A comment line that clients skip, so that proxies and we notice a broken connection. */
  beat (): void
  readonly body: Readable
}

/** Limit of bytes that wait for a reader; a slower one is dropped, and catches up when it connects again. */
const maxWaiting = 256 * 1024

/** Time after which browsers connect again, in milliseconds. */
const retryMs = 2000

/** Longest time for which an event waits for others, in milliseconds. */
const longestWait = 50
/** Streams for each millisecond of that time: few streams get each event at once. */
const streamsPerMillisecond = 10

/** Open streams. */
let streams = 0
/** Sends of the streams that have something to send. */
const unsent = new Set<() => void>()
let timer: NodeJS.Timeout | undefined
let isDue = false

/**
 * A write costs as much for ten events as for one, so what streams get within a short time is sent with one write. A
 * job's end waits for nothing, and takes with it what came before.
 */
function sendSoon (send: () => void, isUrgent: boolean): void {
  unsent.add(send)
  if (isDue) return
  const wait = isUrgent ? 0 : Math.min(longestWait, Math.floor(streams / streamsPerMillisecond))
  if (wait > 0) {
    timer ??= setTimeout(sendAll, wait)
    return
  }
  isDue = true
  setImmediate(sendAll)
}

function sendAll (): void {
  clearTimeout(timer)
  timer = undefined
  isDue = false
  const sends = [...unsent]
  unsent.clear()
  for (const send of sends) send()
}

let last: { readonly event: ServiceEvent, readonly base: string, readonly message: string } | undefined

/** The message of an event, which most streams get one after the other. */
function messageOf (event: ServiceEvent, views: EventViews, base: string): string {
  if (last?.event !== event || last.base !== base) {
    last = { event, base, message: written(event.id, event.kind, views.text(event, base)) }
  }
  return last.message
}

function written (id: string | null, kind: string, json: string): string {
  return `${id === null ? '' : `id: ${id}\n`}event: ${kind}\ndata: ${json}\n\n`
}

/** Messages as bytes, and as one chunk of an answer in chunks, RFC 9112 section 7.1. */
interface Encoded {
  readonly bytes: Buffer
  readonly chunk: Buffer
}

let lastMessages: readonly string[] = []
let lastEncoded: Encoded = { bytes: Buffer.alloc(0), chunk: Buffer.alloc(0) }

/** Most streams get the same messages: they are encoded once. */
function encoded (messages: readonly string[]): Encoded {
  const isSame = messages.length === lastMessages.length &&
    messages.every((message, index) => message === lastMessages[index])
  if (!isSame) {
    lastMessages = messages
    const text = messages.join('')
    const head = `${Buffer.byteLength(text).toString(16)}\r\n`
    const chunk = Buffer.from(`${head}${text}\r\n`)
    lastEncoded = { bytes: chunk.subarray(head.length, -2), chunk }
  }
  return lastEncoded
}

function openEventStream (views: EventViews, base: string, raw: ServerResponse): EventStream {
  const ended = new AbortController()
  let isOver = false
  let wakeUps: Array<() => void> = []
  const wake = () => {
    for (const wakeUp of wakeUps) wakeUp()
    wakeUps = []
  }
  const over = () => {
    isOver = true
    ended.abort()
    wake()
  }
  const body = new Readable({ read: wake })
  streams++
  body.once('close', () => {
    streams--
    over()
  })
  // A reader that disconnects is no fault.
  body.on('error', () => {})

  let hasBegun = false

  /**
   * The connection, if it has all that was pushed and takes more. A chunk that is written to it directly is one write;
   * from the body, Node writes it in four pieces, through two more streams.
   */
  function freeSocket (): Socket | null {
    const { socket } = raw
    const isInAnswer = hasBegun && body.readableLength === 0 && raw.headersSent && raw.chunkedEncoding
    return isInAnswer && socket?.writable === true && !socket.writableNeedDrain ? socket : null
  }

  let waiting: string[] = []

  function write (message: string, isUrgent: boolean): void {
    if (isOver) return
    if (waiting.push(message) === 1 || isUrgent) sendSoon(flush, isUrgent)
  }

  function flush (): void {
    const messages = waiting
    waiting = []
    if (messages.length === 0 || isOver || body.readableEnded || body.destroyed) return
    const { bytes, chunk } = encoded(messages)
    const socket = freeSocket()
    if (socket === null) body.push(bytes)
    else socket.write(chunk)
    hasBegun = true
    if (body.readableLength > maxWaiting) body.destroy(new Error('the reader is too slow'))
  }

  write(`retry: ${retryMs}\n\n`, true)
  return {
    base,
    body,
    signal: ended.signal,
    event (event) { write(messageOf(event, views, base), isLast(event)) },
    view (view) { write(written(view.id, view.kind, stringifyJson(view)), true) },
    beat () { write(': still here\n\n', false) },
    async ready () {
      flush()
      if (body.readableLength < body.readableHighWaterMark || isOver) return
      await new Promise<void>(resolve => { wakeUps.push(resolve) })
    },
    end () {
      if (isOver) return
      flush()
      body.push(null)
      over()
    }
  }
}

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
    const accepts = createEventFilter(request.query, request.principal, registry)
    reply.hold('listening')
    connections.admit()
    const sendEvents = await prepareAll({ eventBus, asked: placeOf(request.headers, request.query), accepts })
    const stream = openEventStream(views, request.base, reply.raw)
    connections.add({ principal: request.principal, ...stream })
    if (wantsPreviews(request.query)) previews.watch(null, stream.signal)
    sendEvents(stream).catch(error => {
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
      schema: {
        operationId: 'jobs.getPreview',
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
