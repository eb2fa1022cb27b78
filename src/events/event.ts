import type { Redis } from 'ioredis'
import { type EventKind, eventKinds, type StoredKind } from '../../schemas/event.ts'
import type { JobStatus } from '../../schemas/job.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** A change of a job or a server, as listeners within the service get it. */
export interface ServiceEvent {
  /** Its position in the stream; null if it is not stored. */
  readonly id: string | null
  readonly kind: EventKind
  readonly jobId: string | null
  readonly serverId: string | null
  /** Id of the access key that owns the job. */
  readonly keyId: string | null
  readonly status: JobStatus | null
  /** Milliseconds since the epoch, by the clock of Redis. */
  readonly moment: number
  readonly data: Readonly<Record<string, unknown>>
}

export interface StoredEvent extends ServiceEvent { readonly id: string }

export function isStored (event: ServiceEvent): event is StoredEvent {
  return event.id !== null
}

const known = new Set<unknown>(eventKinds)

/** The event of a stream's entry; null for entries of later versions or of the stream itself. */
export function parseEntry (id: string, values: readonly string[]): StoredEvent | null {
  const fields: Record<string, string> = {}
  for (let index = 0; index + 1 < values.length; index += 2) fields[values[index] ?? ''] = values[index + 1] ?? ''
  if (!known.has(fields.kind)) return null
  const data = fields.data ? JSON.parse(fields.data) as ServiceEvent['data'] : {}
  return eventOf(fields, id, momentOf(id), data)
}

/** The event of a message on the channel; null as above. */
export function parseMessage (message: string): ServiceEvent | null {
  const fields = JSON.parse(message) as Record<string, string> & {
    data?: ServiceEvent['data'], moment?: number
  }
  if (!known.has(fields.kind)) return null
  const id = fields.id ?? null
  return eventOf(fields, id, id === null ? Number(fields.moment) : momentOf(id), fields.data ?? {})
}

function eventOf<Id extends string | null> (
  fields: Readonly<Record<string, string>>, id: Id, moment: number, data: ServiceEvent['data']
) {
  return {
    id,
    kind: fields.kind as EventKind,
    jobId: fields.job || null,
    serverId: fields.server || null,
    keyId: fields.key || null,
    status: (fields.status || null) as JobStatus | null,
    moment,
    data
  }
}

/** An id is `<milliseconds>-<number>`, or milliseconds alone, which mean the number 0. */
function momentOf (id: string): number {
  const dash = id.indexOf('-')
  return Number(dash === -1 ? id : id.slice(0, dash))
}

function numberOf (id: string): number {
  const dash = id.indexOf('-')
  return dash === -1 ? 0 : Number(id.slice(dash + 1))
}

let compared = { one: '', other: '', isAfter: false }

/** Whether one position in the stream is after another. Many listeners ask for the same two, one after the other. */
export function isAfter (one: string, other: string): boolean {
  if (one !== compared.one || other !== compared.other) compared = { one, other, isAfter: compare(one, other) }
  return compared.isAfter
}

function compare (one: string, other: string): boolean {
  const [moment, otherMoment] = [momentOf(one), momentOf(other)]
  return moment > otherMoment || (moment === otherMoment && numberOf(one) > numberOf(other))
}

const publishEvent = loadScript<[prefix: string], [kind: ServiceEventKind, server: string, data: string], null>(
  new URL('scripts/publish-event.lua', import.meta.url))

export type ServiceEventKind = Extract<StoredKind, `server-${string}` | `queue-${string}`>

/** Publishes the change of a server, or, without one, of all queues. */
export type PublishEvent = (
  kind: ServiceEventKind, server: { readonly id: string, readonly alias: string } | null
) => Promise<void>

export function createEventPublisher (redis: Redis, keys: Keys): PublishEvent {
  return async (kind, server) => {
    const facts = JSON.stringify(server === null ? {} : { alias: server.alias })
    await publishEvent(redis, [keys.key('')], [kind, server?.id ?? '', facts])
  }
}
