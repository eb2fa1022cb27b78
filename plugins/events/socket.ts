import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { WebSocket } from '@fastify/websocket'
import { Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import type { FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { EventQuery, SocketMessage } from '../../schemas/event.ts'
import { describeUnknownField, unknownFieldsError } from '../../src/a1111/unknown-fields.ts'
import { audienceOf, wantsPreviews } from '../../src/events/filter.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { toServiceError } from '../core/errors.ts'
import { type EventSubscriber, prepareAll } from './subscriber.ts'

const [subscribe, unsubscribe, ping] = SocketMessage.anyOf
const checks = {
  subscribe: TypeCompiler.Compile(subscribe),
  unsubscribe: TypeCompiler.Compile(unsubscribe),
  ping: TypeCompiler.Compile(ping)
} as const
const types = Object.keys(checks)

/** @throws ServiceError `malformed_request` or `invalid_field_value`, naming the field */
function readMessage (text: string): SocketMessage {
  const value = parse(text)
  const { type } = value as { type?: unknown }
  const known = type === 'subscribe' ? Object.keys(subscribe.properties) : ['type', 'id']
  const check = typeof type === 'string' && Object.hasOwn(checks, type) ? checks[type as keyof typeof checks] : undefined
  if (check === undefined) {
    throw new ServiceError('invalid_field_value', `type must be one of: ${types.join(', ')}.`, { field: 'type' })
  }
  if (check.Check(value)) return value
  const [unknown, ...others] = Object.keys(value).filter(name => !known.includes(name))
    .map(name => describeUnknownField(name, known))
  if (unknown !== undefined) throw unknownFieldsError([unknown, ...others])
  const fault = check.Errors(value).First()
  const field = fault?.path.slice(1).replaceAll('/', '.') ?? ''
  throw new ServiceError('invalid_field_value', `${field} is not right: ${fault?.message.toLowerCase()}.`, { field })
}

function parse (text: string): object {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // said below
  }
  throw new ServiceError('malformed_request', 'A message must be a JSON object such as {"type":"subscribe","id":"all"}.')
}

/** Limits of subscriptions of one socket, and of a client's messages a minute. */
const maxSubscriptions = 50
const maxMessages = 300
/** Limit of bytes that wait for a reader; a slower one is dropped. */
const maxWaiting = 256 * 1024
/** Enough to keep the network busy, in bytes. */
const fewWaiting = 32 * 1024
/** How long the client has for the closing handshake, in milliseconds. */
const farewellMs = 1000
/** RFC 6455, §7.4.1, and what was registered since: policy violation, service restart. */
const policyViolation = 1008
const serviceRestart = 1012

type Subscribe = Extract<SocketMessage, { type: 'subscribe' }>

/** The same events as over SSE, several subscriptions on one socket. */
const socketRoute: FastifyPluginAsyncTypebox = async app => {
  app.route({
    method: 'GET',
    url: '/ws',
    config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true } },
    exposeHeadRoute: false,
    schema: {
      operationId: 'events.openSocket',
      tags: ['Events'],
      summary: 'Listen over a WebSocket',
      description: 'Messages are JSON. Send `{"type":"subscribe","id":"mine"}`, with `server`, `key`, `status`, `kinds`, ' +
        '`job_id` and `last_event_id` where wanted, and get `{"type":"event","subscription":"mine","event":{…}}` with ' +
        'the events of GET /api/v1/events, or with `job_id` those of one job. `unsubscribe` ends a subscription, ' +
        'which is answered with `{"type":"ended","subscription":"mine"}`, as is the end of a job; `ping` is answered ' +
        'with `pong`. What is wrong is answered with `{"type":"error",…}`. A reader that is too slow is dropped.',
      querystring: Type.Pick(EventQuery, ['ticket']),
      response: {
        101: Type.Null({ description: 'The socket is open.' }),
        426: Type.Null({ description: 'This is for WebSocket only.' }),
        ...errorResponses()
      }
    },
    preValidation: async (_request, reply) => {
      reply.hold('listening')
      app.connections.admit()
    },
    handler: async (_request, reply) => await reply.code(426).header('upgrade', 'websocket').send(null),
    wsHandler: (socket, request) => { serve(socket, request) }
  })
}

export default socketRoute

function serve (socket: WebSocket, { principal, server, base }: FastifyRequest): void {
  const { eventBus, connections, registry, eventViews: views, previews, jobEventSender } = server
  const closed = new AbortController()
  const subscriptions = new Map<string, AbortController>()
  let alive = true
  let sent: Promise<void> = Promise.resolve()
  let messages = 0
  let messagesSince = performance.now()

  function send (text: string): void {
    if (socket.readyState !== socket.OPEN) return
    sent = new Promise(resolve => { socket.send(text, () => { resolve() }) })
    if (socket.bufferedAmount > maxWaiting) socket.terminate()
  }

  function refuse (error: unknown, subscription?: string): void {
    const { code, message, details } = toServiceError(error)
    send(stringifyJson({ type: 'error', subscription, code, message, details }))
  }

  function end (id: string): void {
    const subscription = subscriptions.get(id)
    if (subscription === undefined) return
    subscriptions.delete(id)
    subscription.abort()
    send(stringifyJson({ type: 'ended', subscription: id }))
  }

  function eventSubscriberOf (id: string, { signal }: AbortController): EventSubscriber {
    const head = `{"type":"event","subscription":${stringifyJson(id)},"event":`
    const put = (json: string) => { if (!signal.aborted) send(`${head}${json}}`) }
    return {
      base,
      signal,
      event (event) { put(views.text(event, base)) },
      view (view) { put(stringifyJson(view)) },
      async ready () { if (socket.bufferedAmount > fewWaiting) await sent },
      end () { if (!signal.aborted) end(id) }
    }
  }

  async function subscribe ({ id, job_id: jobId, last_event_id: lastEventId, ...requested }: Subscribe): Promise<void> {
    const asked = lastEventId ?? null
    if (subscriptions.has(id)) {
      throw new ServiceError('invalid_field_value', `There is a subscription ${id} already.`, { field: 'id' })
    }
    if (subscriptions.size >= maxSubscriptions) {
      throw new ServiceError('too_many_listeners', `A socket has at most ${maxSubscriptions} subscriptions.`)
    }
    const audience = audienceOf(requested, principal, registry)
    const subscription = new AbortController()
    subscriptions.set(id, subscription)
    const eventSubscriber = eventSubscriberOf(id, subscription)
    try {
      if (wantsPreviews(requested)) previews.watch(jobId ?? null, subscription.signal)
      const sendEvents = jobId === undefined
        ? await prepareAll({ eventBus, asked, audience })
        : await jobEventSender.prepare({ jobId, asked, kinds: requested.kinds }, principal)
      if (sendEvents === null) eventSubscriber.end()
      else await sendEvents(eventSubscriber)
    } catch (error) {
      if (subscriptions.get(id) === subscription) subscriptions.delete(id)
      subscription.abort()
      throw error
    }
  }

  function tooMany (): boolean {
    if (performance.now() - messagesSince > 60_000) {
      messages = 0
      messagesSince = performance.now()
    }
    return ++messages > maxMessages
  }

  function hear (text: string): void {
    if (tooMany()) return socket.close(policyViolation, `More than ${maxMessages} messages a minute.`)
    let subscription: string | undefined
    try {
      const message = readMessage(text)
      if (message.type === 'ping') return send('{"type":"pong"}')
      subscription = message.id
      if (message.type === 'unsubscribe') return end(message.id)
      subscribe(message).catch(error => { refuse(error, message.id) })
    } catch (error) {
      refuse(error, subscription)
    }
  }

  socket.on('message', data => { hear(String(data)) })
  socket.on('pong', () => { alive = true })
  socket.on('close', () => {
    closed.abort()
    for (const subscription of subscriptions.values()) subscription.abort()
    subscriptions.clear()
  })
  connections.add({
    principal,
    signal: closed.signal,
    beat () {
      if (!alive) return socket.terminate()
      alive = false
      socket.ping()
    },
    end () {
      socket.close(serviceRestart, 'Connect again.')
      setTimeout(() => { socket.terminate() }, farewellMs).unref()
    }
  })
}
