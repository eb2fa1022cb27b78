import { createHmac } from 'node:crypto'
import type { WebhookFields } from '../../schemas/webhook.ts'

/**
 * Standard Webhooks 1.0.0, symmetric: https://github.com/standard-webhooks/standard-webhooks. The receiver's library
 * wants a secret as `whsec_` and base64; any other text is taken as its UTF-8 bytes, with nothing derived, so that it
 * has such a form too.
 */
const prefix = 'whsec_'

/** Whether the key is of the form that only signs and is never sent. */
export function isSigningKey (key: string): boolean {
  return key.startsWith(prefix)
}

/** Whether a key of that form holds 24 to 64 bytes in standard, padded base64. */
export function isSoundSigningKey (key: string): boolean {
  const text = key.slice(prefix.length)
  const bytes = Buffer.from(text, 'base64')
  return isSigningKey(key) && bytes.toString('base64') === text && bytes.length >= 24 && bytes.length <= 64
}

export function secretBytes (key: string): Buffer {
  return isSigningKey(key) ? Buffer.from(key.slice(prefix.length), 'base64') : Buffer.from(key, 'utf8')
}

/** The form in which every Standard Webhooks library takes the key. */
export function publishedSecret (key: string | Buffer): string {
  return `${prefix}${(typeof key === 'string' ? secretBytes(key) : key).toString('base64')}`
}

/** What a request that names a key of another form is told: the form in which libraries verify with it. */
export function signingSecretOf (
  { webhookKey, webhook_key: other }: WebhookFields
): { webhook_signing_secret?: string } {
  const key = webhookKey ?? other
  return !key || isSigningKey(key) ? {} : { webhook_signing_secret: publishedSecret(key) }
}

/** What of a message is signed, besides its body. */
export interface SignedHead {
  readonly id: string
  /** Seconds since the epoch, of this attempt. */
  readonly timestamp: number
}

export function signature ({ id, timestamp }: SignedHead, body: Buffer, key: string): string {
  const digest = createHmac('sha256', secretBytes(key)).update(`${id}.${timestamp}.`).update(body).digest('base64')
  return `v1,${digest}`
}

/** One signature for each key, in their order, joined by one space each as the libraries' parsers want it. */
export function signatures (head: SignedHead, body: Buffer, keys: readonly string[]): string {
  return keys.map(key => signature(head, body, key)).join(' ')
}
