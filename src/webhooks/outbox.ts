import { createHash, randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { JobEvent, WebhookEvent } from '../../schemas/webhook.ts'
import type { Encryptor } from '../access/secrets.ts'
import { parseJob } from '../jobs/job.ts'
import { endpointId, seal, shownUrl } from '../jobs/webhook-request.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import type { NewDelivery } from './delivery.ts'
import { type ImageUrls, type JobEventNotice, renderEvent } from './event-body.ts'
import type { CheckedWebhook } from '../jobs/submit.ts'

/** An event that became true together with the job's state, and has no delivery yet. */
export interface OutboxEntry {
  readonly entryId: string
  /** Null for an unreadable entry. */
  readonly notice: JobEventNotice | null
}

/** The scripts of the job record write it; the relay creates deliveries of it and removes finished entries. */
export interface Outbox {
  /** Oldest first. */
  read (count: number): Promise<OutboxEntry[]>
  remove (entryId: string): Promise<void>
}

export function createOutbox (redis: Redis, keys: Keys): Outbox {
  const stream = keys.key('webhook-outbox')
  return {
    async read (count) {
      const entries = await redis.xrange(stream, '-', '+', 'COUNT', count)
      return entries.map(([entryId, values]) => ({ entryId, notice: parseNotice(pairs(values)) }))
    },
    async remove (entryId) {
      await redis.xdel(stream, entryId)
    }
  }
}

function pairs (values: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {}
  for (let index = 0; index + 1 < values.length; index += 2) fields[values[index] ?? ''] = values[index + 1] ?? ''
  return fields
}

function parseNotice (fields: Readonly<Record<string, string>>): JobEventNotice | null {
  const job = parseJob(fields['@job'] ?? '', fields)
  if (job === null) return null
  return {
    type: fields['@event'] as JobEvent,
    moment: Number(fields['@moment']),
    sequence: Number(fields.webhookSequence),
    job
  }
}

const letters = 'abcdefghijklmnopqrstuvwxyz234567'
const length = 26

/**
 * The id of an event: the same after any crash and repetition, so that queue, log and receiver recognise a repeat. Has
 * no dot, which the signed content uses as separator.
 */
export function eventId (jobId: string, type: WebhookEvent, sequence: number | string): string {
  const digest = createHash('sha256').update(`${jobId}|${type}|${sequence}`).digest()
  return `evt_${base32(digest).slice(0, length)}`
}

/** RFC 4648 without padding, in lower case. */
function base32 (bytes: Buffer): string {
  let bits = 0
  let held = 0
  let text = ''
  for (const byte of bytes) {
    held = (held << 8 | byte) & 0xfff
    bits += 8
    for (; bits >= 5; bits -= 5) text += letters[held >> bits - 5 & 31]
  }
  return bits === 0 ? text : text + letters[held << 5 - bits & 31]
}

/**
 * The delivery of a job's event; the same event gives the same delivery, however often it is created. Null for a job
 * without a receiver.
 * @param linkLifetime how long links to images are valid, in milliseconds
 */
export function deliveryOf (
  notice: JobEventNotice, { imageUrls, linkLifetime }: { imageUrls: ImageUrls, linkLifetime: number }
): NewDelivery | null {
  const { type, moment: timestamp, sequence, job } = notice
  const { webhook } = job
  if (webhook === null) return null
  const linksUntil = timestamp + linkLifetime
  const { body, files } = renderEvent(notice, {
    images: webhook.images,
    format: webhook.format,
    linksUntil,
    linkOf: ({ name }) => imageUrls.sign(webhook.baseUrl, name, linksUntil),
    jobUrl: `${webhook.baseUrl}/api/v2/jobs/${job.id}`
  })
  return {
    id: eventId(job.id, type, sequence),
    type,
    jobId: job.id,
    keyId: job.keyId,
    sequence,
    createdAt: timestamp,
    endpoint: webhook.endpoint,
    shownUrl: webhook.shownUrl,
    sealed: webhook.sealed,
    owner: `job:${job.id}`,
    auth: webhook.auth,
    format: webhook.format,
    body,
    files,
    trace: job.submission.trace ?? null
  }
}

/** A `webhook.test` for an address that was checked like that of a job. */
export function testDelivery (
  { requested, url, keyId }: CheckedWebhook, encryptor: Encryptor, timestamp: number
): NewDelivery {
  const owner = `test:${randomUUID()}`
  const id = eventId(owner, 'webhook.test', 1)
  return {
    id,
    type: 'webhook.test',
    jobId: null,
    keyId,
    sequence: 1,
    createdAt: timestamp,
    endpoint: endpointId(keyId, url),
    shownUrl: shownUrl(url),
    sealed: seal(encryptor, { url: url.href, key: requested.key }, owner),
    owner,
    auth: requested.auth,
    format: requested.format,
    body: stringifyJson({
      type: 'webhook.test', timestamp: new Date(timestamp).toISOString(), apiVersion: '1', data: { id, sequence: 1 }
    }),
    files: [],
    trace: null
  }
}
