import { createHash } from 'node:crypto'
import type { Encryptor } from '../access/secrets.ts'
import { endEvents, jobEvents, type JobEvent, type WebhookFields } from '../../schemas/webhook.ts'
import { ServiceError } from '../lib/errors.ts'

export type WebhookAuth = 'header+signature' | 'signature'
export type WebhookImages = 'url' | 'base64' | 'none'
export type WebhookFormat = 'standard' | 'legacy'

/** Where events go and how, unencrypted, as the request asked. */
export interface WebhookRequest {
  readonly url: string
  readonly key: string | null
  readonly auth: WebhookAuth
  readonly events: readonly JobEvent[]
  readonly images: WebhookImages
  readonly format: WebhookFormat
}

/** The same as stored with a job: addresses contain secrets as often as keys do, so both are encrypted. */
export interface Subscription extends Omit<WebhookRequest, 'url' | 'key'> {
  /** Address without its query, to show. */
  readonly shownUrl: string
  readonly endpoint: string
  readonly hasKey: boolean
  readonly sealed: string
  /** Where links in events begin, without a slash at the end. */
  readonly baseUrl: string
}

/** The encrypted part. */
export interface Destination {
  readonly url: string
  readonly key: string | null
}

/**
 * The webhook fields of a request, in either spelling; null if it names no address.
 * @throws ServiceError `invalid_field_value` for unknown events
 */
export function readWebhookRequest (fields: WebhookFields): WebhookRequest | null {
  const url = fields.webhookUrl ?? fields.webhook_url ?? ''
  if (url.trim() === '') return null
  const format = fields.webhookFormat ?? fields.webhook_format ?? 'standard'
  return {
    url: url.trim(),
    key: (fields.webhookKey ?? fields.webhook_key) || null,
    auth: fields.webhookAuth ?? fields.webhook_auth ?? 'header+signature',
    events: eventsOf(fields.webhookEvents ?? fields.webhook_events),
    images: fields.webhookImages ?? fields.webhook_images ?? (format === 'legacy' ? 'base64' : 'url'),
    format
  }
}

function eventsOf (given: readonly JobEvent[] | string | undefined): readonly JobEvent[] {
  if (given === undefined) return endEvents
  if (typeof given !== 'string') return given
  const names = given.split(',').map(name => name.trim()).filter(name => name !== '')
  const unknown = names.find(name => !isJobEvent(name))
  if (unknown !== undefined) {
    const complaint = `has ${JSON.stringify(unknown)}; events are ${jobEvents.join(', ')}.`
    throw new ServiceError('invalid_field_value', name => `${name} ${complaint}`, { field: 'webhookEvents' })
  }
  return [...new Set(names.filter(isJobEvent))]
}

function isJobEvent (name: string): name is JobEvent {
  return jobEvents.some(event => event === name)
}

/** @param owner the record that it belongs to, such as `job:<id>`; only the same owner can decrypt it */
export function seal (encryptor: Encryptor, destination: Destination, owner: string): string {
  return encryptor.seal(JSON.stringify({ url: destination.url, key: destination.key }), `${owner}:webhook`)
}

/** @throws Error as `Encryptor.open` */
export function open (encryptor: Encryptor, sealed: string, owner: string): Destination {
  return JSON.parse(encryptor.open(sealed, `${owner}:webhook`)) as Destination
}

/** An address in a form that can be shown and logged. */
export function shownUrl (url: URL): string {
  return `${url.origin}${url.pathname}`
}

/** One address of one access key; the query makes no difference. */
export function endpointId (keyId: string | null, url: URL): string {
  return createHash('sha256').update(`${keyId ?? ''}\n${shownUrl(url)}`).digest('hex').slice(0, 24)
}
