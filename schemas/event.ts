import { Type, type Static } from '@sinclair/typebox'
import { JobStatus } from './job.ts'
import { Nullable, StringEnum, success, Timestamp } from './kit.ts'

/** Stored for a while, so that clients that reconnect get them afterwards. */
export const storedKinds = [
  'accepted', 'started', 'image', 'completed', 'failed', 'cancelled', 'returned', 'moved', 'changed', 'removed',
  'image-removed',
  'server-added', 'server-changed', 'server-removed', 'server-up', 'server-down', 'server-paused', 'server-resumed',
  'server-draining', 'server-drained',
  'queue-paused', 'queue-resumed',
  'download-added', 'download-completed', 'download-failed', 'download-cancelled', 'models-scanned'
] as const

/** Sent to listeners at that time: the next one makes up for a missed one. */
export const liveKinds = ['progress', 'preview', 'place', 'queue', 'download-progress', 'scan-progress', 'delivery'] as const

/** About the stream itself; they cannot be filtered. */
export const streamKinds = ['ready', 'reset', 'snapshot'] as const

export const eventKinds = [...storedKinds, ...liveKinds] as const
export type StoredKind = typeof storedKinds[number]
export type EventKind = typeof eventKinds[number]

const kindMeanings = 'accepted: in the queue, also again after a retry. started: a generation started. progress: it advanced. preview: a new preview exists, sent only ' +
  'to clients that request this kind. place: the new position of a waiting job, up to the ' +
  '100th. queue: the length of a server\'s queue. ' +
  'image: a result image was stored. completed, failed, cancelled: the job finished. returned: back in the queue after its ' +
  'server failed. moved: to another position or server. changed: a waiting job generates something else. removed: deleted. image-removed: one of its images was deleted. server-…: a change of a server; server-drained: it takes no jobs, and the last one there is over. queue-…: an operator paused or resumed all queues. ' +
  'download-…: a change of a model download. models-scanned: a scan of the model folders finished. scan-progress: its progress. ' +
  'delivery: a change of a webhook delivery, sent only to clients that request this kind. ' +
  'ready: the first event, with the position of the stream. reset: missed events are no longer ' +
  'stored, so reload your lists. snapshot: the present state of the job.'

export const EventView = Type.Object({
  id: Nullable(Type.String(), {
    description: 'Position of the stream after this event, for Last-Event-ID; null for events that are not stored.',
    examples: ['1764110000000-0']
  }),
  kind: StringEnum([...eventKinds, ...streamKinds], { description: kindMeanings }),
  job_id: Nullable(Type.String(), { description: 'The job; null if the event is not about a job.' }),
  server: Nullable(Type.String(), { description: 'Alias of the server.' }),
  api_key_id: Nullable(Type.String(), { description: 'Access key that owns the job.' }),
  status: Nullable(JobStatus, { description: 'State of the job after the event.' }),
  at: Timestamp('When it happened.'),
  data: Type.Record(Type.String(), Type.Unknown(), {
    description: 'What belongs to the kind: position, progress, filename and url, code and message, and the like.'
  })
}, { $id: 'EventView', description: 'Something that happened to a job or a server.' })
export type EventView = Static<typeof EventView>

const eventId = '^\\d{1,19}(-\\d{1,19})?$'
const list = (what: string, example: string) => Type.String({
  maxLength: 400, description: `${what}; several are joined by commas.`, examples: [example]
})

/** Filters of a stream of events. */
export const eventFilterFields = {
  server: Type.Optional(list('Only events of the servers with these aliases', 'Main')),
  key: Type.Optional(Type.String({
    maxLength: 64, description: 'Only jobs of the access key with this id; any but its own needs jobs:read:all.'
  })),
  status: Type.Optional(list('Only events after which the job is in one of these states', 'completed,failed')),
  kinds: Type.Optional(list('Only these kinds of events', 'started,progress,completed,failed,cancelled'))
}

const lastEventId = Type.Optional(Type.String({
  pattern: eventId,
  description: 'Continues after the event with this id, like the header Last-Event-ID, which overrides it. 0: from the ' +
    'oldest stored event.',
  examples: ['0']
}))
const ticket = Type.Optional(Type.String({
  maxLength: 100, description: 'From POST /api/v1/events/ticket, in place of credentials in headers.'
}))

export const EventQuery = Type.Object({ ...eventFilterFields, lastEventId, ticket })
export type EventQuery = Static<typeof EventQuery>
export const JobEventQuery = Type.Object({ kinds: eventFilterFields.kinds, lastEventId, ticket })
export type JobEventQuery = Static<typeof JobEventQuery>

export const LastEventIdHeader = Type.Object({
  'last-event-id': Type.Optional(Type.String({
    pattern: `^$|${eventId}`, description: 'Id of the last event that the client got; browsers send it by themselves.'
  }))
})
export type LastEventIdHeader = Static<typeof LastEventIdHeader>

export const TicketAnswer = Type.Object({
  success,
  ticket: Type.String({ description: 'Good for one connection, as `?ticket=`.' }),
  expires_at: Timestamp('Until when it must be used.')
}, { $id: 'EventTicket', description: 'A ticket for one connection.' })

const name = Type.String({ minLength: 1, maxLength: 64, description: 'Name of the subscription, by the client\'s own choice.' })

/** Messages of a client over the WebSocket. */
export const SocketMessage = Type.Union([
  Type.Object({
    type: Type.Literal('subscribe'),
    id: name,
    ...eventFilterFields,
    job_id: Type.Optional(Type.String({ maxLength: 64, description: 'Only this job: a snapshot first, its end last.' })),
    last_event_id: Type.Optional(Type.String({ pattern: eventId, description: 'Goes on after the event with this id.' }))
  }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal('unsubscribe'), id: name }, { additionalProperties: false }),
  Type.Object({ type: Type.Literal('ping') }, { additionalProperties: false })
])
export type SocketMessage = Static<typeof SocketMessage>
