import { Type, type Static } from '@sinclair/typebox'
import { Closed, needing, Nullable, Ref, StringEnum, success, Timestamp } from './kit.ts'

export const jobEvents = ['job.started', 'job.progress', 'job.completed', 'job.failed', 'job.cancelled'] as const
export const webhookEvents = [...jobEvents, 'webhook.test'] as const
export type JobEvent = typeof jobEvents[number]
export type WebhookEvent = typeof webhookEvents[number]

export const endEvents: readonly JobEvent[] = ['job.completed', 'job.failed', 'job.cancelled']

export const webhookAuths = ['header+signature', 'signature'] as const
export const webhookImageForms = ['url', 'base64', 'none'] as const
export const webhookFormats = ['standard', 'legacy'] as const

const url = Nullable(Type.String({ maxLength: 2048 }), {
  description: 'http or https address that the job\'s events are sent to.', examples: ['https://example.org/hook']
})
const key = Nullable(Type.String({ maxLength: 512 }), {
  description: 'whsec_… signs and is never sent. Any other text is also sent as the header X-Webhook-Key, and then ' +
    'proves little: anybody who saw one delivery knows it. Stored encrypted.'
})
const auth = StringEnum(webhookAuths, {
  description: 'Whether a key that is no whsec_ is sent as header too. Default: header+signature.'
})
const events = Type.Union([
  Type.Array(StringEnum(jobEvents), { uniqueItems: true, maxItems: jobEvents.length }),
  Type.String({ maxLength: 200, description: 'The same, separated by commas, for forms.' })
], { description: 'Events to send. Default: job.completed, job.failed and job.cancelled.', examples: [['job.completed']] })
const images = StringEnum(webhookImageForms, {
  description: 'How events carry images: signed links (default; for legacy: base64), base64 up to 10 MiB, or not at all.'
})
const format = StringEnum(webhookFormats, {
  description: 'standard (default), or the flat body of automatic1111-async-api-proxy.'
})

/** What every submission takes; each field under two spellings, of which the first one that is given counts. */
export const webhookFields = {
  webhookUrl: Type.Optional(url),
  webhook_url: Type.Optional(url),
  webhookKey: Type.Optional(key),
  webhook_key: Type.Optional(key),
  webhookAuth: Type.Optional(auth),
  webhook_auth: Type.Optional(auth),
  webhookEvents: Type.Optional(events),
  webhook_events: Type.Optional(events),
  webhookImages: Type.Optional(images),
  webhook_images: Type.Optional(images),
  webhookFormat: Type.Optional(format),
  webhook_format: Type.Optional(format),
  metadata: Type.Optional(Type.Unknown({
    description: 'Any JSON of your own, up to 4 kB; events and the job return it.'
  }))
}

export const webhookSigningSecret = Type.Optional(Type.String({
  description: 'webhookKey in the form of Standard Webhooks libraries, if it was sent in another.'
}))

export const WebhookFields = Closed(webhookFields, {
  ...needing(['webhookUrl']),
  $id: 'WebhookFields',
  description: 'Where events are sent, and how.',
  examples: [{ webhook_url: 'https://example.org/hook' }]
})
export type WebhookFields = Static<typeof WebhookFields>

/** The same without metadata and under one spelling: the default endpoint of an access key. */
export const defaultEndpointFields = {
  webhook_url: Type.Optional(url),
  webhook_key: Type.Optional(key),
  webhook_auth: Type.Optional(auth),
  webhook_events: Type.Optional(events),
  webhook_images: Type.Optional(images),
  webhook_format: Type.Optional(format)
}

/** A job's receiver as callers see it. */
export const WebhookView = Type.Object({
  url: Type.String({ description: 'Address, without its query.' }),
  events: Type.Array(StringEnum(jobEvents), { description: 'Events that are sent.' }),
  auth,
  images,
  format,
  endpoint: Type.String({ description: 'Id of the endpoint under /api/v1/webhooks/endpoints.' }),
  has_key: Type.Boolean({ description: 'Whether the job has a webhookKey of its own.' }),
  deliveries: Type.String({ description: 'Where its deliveries are listed.' })
}, { $id: 'WebhookView' })
export type WebhookView = Static<typeof WebhookView>

export const deliveryStates = ['pending', 'delivered', 'failed', 'blocked', 'skipped'] as const
export const DeliveryState = StringEnum(deliveryStates, {
  description: 'pending: not delivered yet. delivered: the receiver answered 2xx. failed: given up. blocked: the ' +
    'address is not allowed. skipped: nothing was sent, for the stated reason.'
})
export type DeliveryState = Static<typeof DeliveryState>

export const DeliveryAttemptView = Type.Object({
  attempt: Type.Integer({ description: 'Counts from 1, over redeliveries too.' }),
  started_at: Timestamp('When it began.'),
  duration_ms: Type.Integer({ description: 'How long it took.' }),
  address: Nullable(Type.String(), { description: 'IP address that was called.' }),
  status: Nullable(Type.Integer(), { description: 'HTTP status of the answer; null when there was none.' }),
  error: Nullable(Type.String(), { description: 'What went wrong, in words.' }),
  headers: Type.Record(Type.String(), Type.String(), { description: 'Chosen headers of the answer.' }),
  request_bytes: Type.Integer({ description: 'Size of the body that was sent.' }),
  request_sha256: Type.String({ description: 'Its hash, in hex.' }),
  response_body: Type.Optional(Type.String({ description: 'First 4 KiB of the answer; for administrators only.' })),
  next_at: Nullable(Timestamp('When the next attempt is due; null when there is none.'))
}, { $id: 'WebhookAttempt' })
export type DeliveryAttemptView = Static<typeof DeliveryAttemptView>

export const DeliveryView = Type.Object({
  id: Type.String({ description: 'Id of the event, the same in webhook-id.', examples: ['evt_abcdefghijklmnopqrstuvwxyz'] }),
  type: StringEnum(webhookEvents, { description: 'What happened.' }),
  job_id: Nullable(Type.String(), { description: 'Job that it is about; null for a test.' }),
  sequence: Type.Integer({ description: 'Rises with each event of the job.' }),
  state: DeliveryState,
  reason: Nullable(Type.String(), { description: 'Why it is in this state, for people.' }),
  url: Type.String({ description: 'Address, without its query.' }),
  endpoint: Type.String({ description: 'Id of the endpoint.' }),
  api_key_id: Nullable(Type.String(), { description: 'Access key that owns the job.' }),
  created_at: Timestamp('When it happened.'),
  attempts: Type.Integer({ description: 'HTTP tries so far.' }),
  last_status: Nullable(Type.Integer(), { description: 'HTTP status of the last answer.' }),
  next_attempt_at: Nullable(Timestamp('When the next attempt is due.')),
  finished_at: Nullable(Timestamp('Time of its last change.')),
  links: Type.Record(Type.String(), Type.String(), { description: 'Where to go from here.' })
}, { $id: 'WebhookDelivery' })
export type DeliveryView = Static<typeof DeliveryView>

export const DeliveryDetail = Type.Object({
  success,
  delivery: Ref(DeliveryView),
  body: Type.String({ description: 'What is sent, base64 images left out.' }),
  attempts: Type.Array(Ref(DeliveryAttemptView), { description: 'Every attempt, oldest first.' })
}, { $id: 'WebhookDeliveryDetail' })

export const DeliveryList = Type.Object({
  success,
  count: Type.Integer({ description: 'Deliveries on this page.' }),
  deliveries: Type.Array(Ref(DeliveryView), { description: 'The page, newest first.' }),
  next_cursor: Nullable(Type.String(), { description: 'Leads to the next page; null at the end.' })
}, { $id: 'WebhookDeliveryList' })

export const DeliveryQuery = Type.Object({
  state: Type.Optional(DeliveryState),
  type: Type.Optional(StringEnum(webhookEvents, { description: 'Only these events.' })),
  endpoint: Type.Optional(Type.String({ description: 'Only this endpoint.', maxLength: 64 })),
  since: Type.Optional(Timestamp('Only what happened at or after this moment.')),
  until: Type.Optional(Timestamp('Only what happened before this moment.')),
  search: Type.Optional(Type.String({ description: 'Only those with this in their address, event id or job id.', maxLength: 200 })),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 200, default: 50, description: 'Deliveries a page.' })),
  cursor: Type.Optional(Type.String({ pattern: '^\\d{1,20}$', description: '`next_cursor` of the page before.' }))
})
export type DeliveryQuery = Static<typeof DeliveryQuery>

export const EndpointView = Type.Object({
  id: Type.String({ description: 'Id of the endpoint: one address of one access key.' }),
  url: Type.String({ description: 'Address, without its query.' }),
  api_key_id: Nullable(Type.String(), { description: 'Access key that uses it.' }),
  state: StringEnum(['ok', 'failing', 'open', 'gone', 'disabled'], {
    description: 'ok: works. failing: the last attempts failed. open: so many failed that it is left alone for a ' +
      'while. gone: it answered 410; nothing is sent for a day or until a test succeeds. disabled: failed for 5 days.'
  }),
  consecutive_failures: Type.Integer({ description: 'Attempts that failed since the last one that succeeded.' }),
  failing_since: Nullable(Timestamp('When the first of them failed.')),
  next_try_at: Nullable(Timestamp('While it is left alone: until when.')),
  last_success_at: Nullable(Timestamp('When it last said 2xx.')),
  last_used_at: Timestamp('When it was last called.')
}, { $id: 'WebhookEndpoint' })
export type EndpointView = Static<typeof EndpointView>

/** For the document; src/webhooks/event-body.ts writes it. */
export const WebhookEventBody = Type.Object({
  type: StringEnum(webhookEvents, { description: 'What happened.' }),
  timestamp: Timestamp('When it happened.'),
  apiVersion: Type.Optional(Type.String({ description: 'The version of this body.', examples: ['1'] })),
  data: Type.Object({
    id: Type.Optional(Type.String({ description: 'The job.' })),
    sequence: Type.Optional(Type.Integer({ description: 'Rises with every change of the job.' }))
  }, {
    additionalProperties: true,
    description: 'The whole job as it was then: id, status, sequence, createdAt, startedAt, finishedAt, attempts, progress, ' +
      'parameters, metadata, result with images, error, links. Drop what has a lower sequence than one seen before.'
  })
}, { $id: 'WebhookEvent', description: 'The body of a request to a receiver.' })
