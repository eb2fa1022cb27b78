import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { EventQuery, EventView, LastEventIdHeader, TicketAnswer } from '../../schemas/event.ts'
import { Ref } from '../../schemas/kit.ts'
import { createEventFilter, wantsPreviews } from '../../src/events/filter.ts'
import { openEventStream, startAnswer } from './event-stream.ts'
import { prepareAll } from './outlet.ts'

/** The answer of every route that streams. */
export const streamAnswer = {
  description: 'Events, one after the other: `id`, `event` (the kind) and `data`, a JSON object.',
  content: { 'text/event-stream': { schema: Ref(EventView) } }
}

/** Where the client stands: its header, which browsers keep up to date, goes before the address it first asked for. */
export function placeOf (headers: LastEventIdHeader, query: { lastEventId?: string }): string | null {
  return headers['last-event-id'] || query.lastEventId || null
}

const events: FastifyPluginAsyncTypebox = async app => {
  const { feed, connections, tickets, registry, eventViews: views, previews } = app

  app.get('/api/v1/events', {
    config: { access: { scope: 'jobs:read', bucket: 'status', ticket: true } },
    exposeHeadRoute: false,
    schema: {
      operationId: 'listen',
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
    const tell = await prepareAll({ feed, asked: placeOf(request.headers, request.query), accepts })
    const stream = openEventStream(views)
    connections.add({ principal: request.principal, ...stream })
    if (wantsPreviews(request.query)) previews.watch(null, stream.signal)
    tell(stream).catch(error => {
      request.log.debug({ err: error }, 'missed events cannot be read')
      stream.end()
    })
    return await startAnswer(reply).send(stream.body)
  })

  app.post('/api/v1/events/ticket', {
    config: { access: { scope: 'jobs:read' } },
    schema: {
      operationId: 'create_event_ticket',
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
