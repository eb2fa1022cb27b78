import { createHash } from 'node:crypto'
import type { WebhookEvent } from '../../schemas/webhook.ts'

const letters = 'abcdefghijklmnopqrstuvwxyz234567'
const length = 26

/**
 * The id of an event: the same whatever crashes and whoever makes it again, so that queue, log and receiver can tell
 * a repeat. Has no dot, which the signed content uses as separator.
 */
export function eventId (jobId: string, type: WebhookEvent, sequence: number | string): string {
  const digest = createHash('sha256').update(`${jobId}|${type}|${sequence}`).digest()
  return `evt_${base32(digest).slice(0, length)}`
}

/** RFC 4648 without padding, in small letters. */
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
