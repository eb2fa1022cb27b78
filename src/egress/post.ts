import { request as httpRequest, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import type { EgressGuard } from './guard.ts'
import type { Reach } from './rules.ts'

/** One POST to an address that somebody else chose. */
export interface GuardedPost {
  readonly url: URL
  readonly reach: Reach
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Milliseconds for all of it: name, connection, sending, answer. */
  readonly deadline: number
  /** Ends it early. */
  readonly signal?: AbortSignal
}

export interface PostAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** At most 16 KiB, as they came over the wire. */
  readonly body: Buffer
  /** Who answered. */
  readonly address: string
}

const mostBytes = 16_384
const mostHeaderBytes = 16_384
/** The status line decides; the body is only for people to read, so little time is given to it, in milliseconds. */
const bodyPatience = 2000

/**
 * Sends it on a connection of its own and follows no redirect. Whatever the other end does, it is over at the deadline
 * and no more than 16 KiB are taken. Node's own client: undici 7 can end the process when a peer hangs up under a
 * reader that is behind.
 * @throws EgressRefusal, or an Error that says what went wrong
 */
export async function guardedPost (guard: Pick<EgressGuard, 'connect'>, post: GuardedPost): Promise<PostAnswer> {
  const { url, reach, headers, body, deadline, signal } = post
  const inTime = AbortSignal.timeout(deadline)
  const over = signal === undefined ? inTime : AbortSignal.any([inTime, signal])
  const socket = await guard.connect(url, reach, over)
  const address = socket.remoteAddress ?? ''
  const request = httpRequest({
    method: 'POST',
    host: url.hostname,
    path: `${url.pathname}${url.search}`,
    // `request` adds nothing to this Host; the connection is TLS already where it has to be.
    headers: { host: url.host, ...headers, 'content-length': body.length, connection: 'close' },
    createConnection: () => socket,
    maxHeaderSize: mostHeaderBytes,
    joinDuplicateHeaders: true
  })
  const end = () => { request.destroy(new Error(`no answer within ${deadline} ms`)) }
  over.addEventListener('abort', end, { once: true })
  try {
    const response = await answered(request, body)
    return {
      status: response.statusCode ?? 0, headers: response.headers, body: await beginningOf(response, over), address
    }
  } finally {
    over.removeEventListener('abort', end)
    // Errors that come after the answer are nobody's business any more.
    request.on('error', () => {})
    request.destroy()
    socket.destroy()
  }
}

async function answered (request: ClientRequest, body: Buffer): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    request.once('response', resolve)
    request.once('error', reject)
    request.once('upgrade', () => { reject(new Error('the answer was no HTTP answer')) })
    request.once('close', () => { reject(new Error('the connection was closed without an answer')) })
    request.end(body)
  })
}

/** What can be had of the body; that it ends badly, late or never does not matter. */
async function beginningOf (response: IncomingMessage, over: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  await new Promise<void>(resolve => {
    const done = () => {
      clearTimeout(timer)
      over.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, bodyPatience)
    over.addEventListener('abort', done, { once: true })
    response.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes >= mostBytes) done()
    })
    response.once('end', done)
    response.on('error', done)
    response.once('close', done)
  })
  response.pause()
  return Buffer.concat(chunks).subarray(0, mostBytes)
}
