import { requestBytes } from '../lib/http/bytes.ts'
import type { EgressGuard } from './guard.ts'
import type { Reach } from './rules.ts'

export interface GuardedGet {
  readonly url: URL
  readonly reach: Reach
  /** Milliseconds for all of it. */
  readonly deadline: number
  /** Largest body, in bytes. */
  readonly maxBytes: number
  readonly signal: AbortSignal
}

/**
 * The body at an address that a caller chose. Follows no redirect.
 * @throws EgressRefusal, or an Error that says what went wrong
 */
export async function guardedGet (guard: Pick<EgressGuard, 'client'>, get: GuardedGet): Promise<Buffer> {
  const { url, reach, deadline, maxBytes, signal } = get
  const { statusCode, body } = await requestBytes(guard.client(reach), {
    url, headers: { 'user-agent': 'StableQueue' }, timeoutMs: deadline, maxBytes, signal
  })
  if (statusCode !== 200) throw new Error(`${url.host} answered ${statusCode}`)
  return body
}
