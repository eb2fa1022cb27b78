import type { DeliveryState, WebhookEvent } from '../../schemas/webhook.ts'
import type { WebhookAuth, WebhookFormat } from '../jobs/webhook-request.ts'
import type { TraceParent } from '../telemetry/tracing.ts'

/** One event on its way to its receiver. Times are in milliseconds since the epoch. */
export interface Delivery {
  /** The event's id, also sent as `webhook-id`. */
  readonly id: string
  readonly type: WebhookEvent
  /** Null for a test. */
  readonly jobId: string | null
  readonly keyId: string | null
  readonly sequence: number
  readonly createdAt: number
  readonly endpoint: string
  readonly shownUrl: string
  /** Address and key, encrypted for `owner`. */
  readonly sealed: string
  readonly owner: string
  readonly auth: WebhookAuth
  readonly format: WebhookFormat
  /** The body, rendered once. If `files` is not empty, each attempt inserts their content. */
  readonly body: string
  /** Names of output images that go into the body as base64. */
  readonly files: readonly string[]
  /** The trace that it belongs to. */
  readonly trace: TraceParent | null
  readonly state: DeliveryState
  readonly reason: string | null
  /** HTTP tries in all. */
  readonly attempts: number
  /** Raised whenever it is sent again on demand; names its queue entry together with the id. */
  readonly round: number
  /** Failures of this round. */
  readonly failures: number
  /** When this round began. */
  readonly roundAt: number
  readonly lastStatus: number | null
  readonly nextAt: number | null
  /** Time at which `nextAt` was set: in the future if the clock went back since. */
  readonly nextSetAt: number | null
  readonly finishedAt: number | null
}

export type NewDelivery = Omit<Delivery,
  'state' | 'reason' | 'attempts' | 'round' | 'failures' | 'roundAt' | 'lastStatus' | 'nextAt' | 'nextSetAt' |
  'finishedAt'>

/** One HTTP try, as it is logged: never with secrets, signatures or the query of an address. */
export interface DeliveryAttempt {
  readonly attempt: number
  readonly startedAt: number
  readonly durationMs: number
  readonly address: string | null
  readonly status: number | null
  readonly error: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly requestBytes: number
  readonly requestSha256: string
  readonly responseBody: string
  readonly nextAt: number | null
}

/** State of a delivery after an attempt, or without one. */
export interface DeliveryChange {
  readonly state: DeliveryState
  readonly reason: string | null
  readonly nextAt: number | null
}

export function toFields (delivery: NewDelivery): Record<string, string> {
  const { files, jobId, keyId, trace, ...rest } = delivery
  const texts = Object.fromEntries(Object.entries(rest).map(([name, value]) => [name, String(value)]))
  return {
    ...texts,
    jobId: jobId ?? '',
    keyId: keyId ?? '',
    files: JSON.stringify(files),
    ...(trace === null ? {} : { trace })
  }
}

/** Null if there is no such delivery. */
export function parseDelivery (fields: Readonly<Record<string, string>>): Delivery | null {
  const { id, type, state, createdAt } = fields
  if (id === undefined || type === undefined || state === undefined) return null
  const timestamp = (text: string | undefined) => text === undefined || text === '' ? null : Number(text)
  return {
    id,
    type: type as WebhookEvent,
    jobId: fields.jobId || null,
    keyId: fields.keyId || null,
    sequence: Number(fields.sequence),
    createdAt: Number(createdAt),
    endpoint: fields.endpoint ?? '',
    shownUrl: fields.shownUrl ?? '',
    sealed: fields.sealed ?? '',
    owner: fields.owner ?? '',
    auth: fields.auth as WebhookAuth,
    format: fields.format as WebhookFormat,
    body: fields.body ?? '',
    files: JSON.parse(fields.files ?? '[]') as string[],
    trace: fields.trace || null,
    state: state as DeliveryState,
    reason: fields.reason || null,
    attempts: Number(fields.attempts ?? 0),
    round: Number(fields.round ?? 0),
    failures: Number(fields.failures ?? 0),
    roundAt: Number(fields.roundAt ?? createdAt),
    lastStatus: timestamp(fields.lastStatus),
    nextAt: timestamp(fields.nextAt),
    nextSetAt: timestamp(fields.nextSetAt),
    finishedAt: timestamp(fields.finishedAt)
  }
}

/** What the queue needs to know of a delivery: the record is the truth, the queue carries its name. */
export type WebhookEntry = Pick<Delivery, 'id' | 'round'>

/** How deliveries reach a queue; `queues/` implements it, so that `src/` knows no BullMQ. */
export interface WebhookQueuePort {
  /** Adding an entry twice is harmless. */
  add (entry: WebhookEntry): Promise<void>
}
