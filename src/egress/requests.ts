import type { IncomingHttpHeaders } from 'node:http'
import { withDeadline } from '../lib/deadline.ts'
import { requestBytes } from '../lib/http/bytes.ts'
import type { HttpAnswer } from '../lib/http/client.ts'
import type { EgressGuard } from './guard.ts'
import type { Reach } from './rules.ts'

/** One POST to an address that a client chose. */
export interface GuardedPost {
  readonly url: URL
  readonly reach: Reach
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Milliseconds for everything: name, connection, sending, answer. */
  readonly deadline: number
  /** Ends it early. */
  readonly signal?: AbortSignal
}

export interface PostAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** At most 16 KiB, as they came over the wire. */
  readonly body: Buffer
  /** Address of the answering host. */
  readonly address: string
}

const maxAnswerBytes = 16_384
/** The status line decides; the body is only for people, so it gets little time, in milliseconds. */
const bodyPatience = 2000

/**
 * Sends it on a connection of its own and follows no redirect. Whatever the other end does, the request ends at the
 * deadline, and takes no more than 16 KiB of headers and of the body.
 * @throws EgressRefusal, or an Error with the reason
 */
export async function guardedPost (guard: Pick<EgressGuard, 'client'>, post: GuardedPost): Promise<PostAnswer> {
  const { url, reach, headers, body, deadline: timeoutMs, signal: early } = post
  return await withDeadline(timeoutMs, [early], async (signal, deadline) => {
    let address = ''
    try {
      const answer = await guard.client(reach).request({ method: 'POST', url, headers, body, signal }, connected => {
        address = connected
      })
      return { status: answer.statusCode, headers: answer.headers, body: await beginningOf(answer.body), address }
    } catch (error) {
      if (deadline.expired()) throw new Error(`no answer within ${timeoutMs} ms`, { cause: error })
      throw error
    }
  })
}

/** The available part of the body; it does not matter if it breaks off, comes late or never comes. */
async function beginningOf (body: HttpAnswer['body']): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  const patience = setTimeout(() => { body.destroy() }, bodyPatience)
  try {
    for await (const chunk of body) {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= maxAnswerBytes) break
    }
  } catch {
    // Its status is known.
  } finally {
    clearTimeout(patience)
  }
  return Buffer.concat(chunks).subarray(0, maxAnswerBytes)
}

export interface GuardedGet {
  readonly url: URL
  readonly reach: Reach
  /** Milliseconds for everything. */
  readonly deadline: number
  /** Largest body, in bytes. */
  readonly maxBytes: number
  readonly signal: AbortSignal
}

/**
 * The body at an address that a client chose. Follows no redirect.
 * @throws EgressRefusal, or an Error with the reason
 */
export async function guardedGet (guard: Pick<EgressGuard, 'client'>, get: GuardedGet): Promise<Buffer> {
  const { url, reach, deadline, maxBytes, signal } = get
  const { statusCode, body } = await requestBytes(guard.client(reach), {
    url, headers: { 'user-agent': 'StableQueue' }, timeoutMs: deadline, maxBytes, signal
  })
  if (statusCode !== 200) throw new Error(`${url.host} answered ${statusCode}`)
  return body
}
