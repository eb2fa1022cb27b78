import { request as httpRequest, type IncomingMessage } from 'node:http'
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
export async function guardedGet (guard: Pick<EgressGuard, 'connect'>, get: GuardedGet): Promise<Buffer> {
  const { url, reach, deadline, maxBytes, signal } = get
  const over = AbortSignal.any([signal, AbortSignal.timeout(deadline)])
  const socket = await guard.connect(url, reach, over)
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      httpRequest({
        host: url.hostname,
        path: `${url.pathname}${url.search}`,
        headers: { host: url.host, 'user-agent': 'StableQueue', 'accept-encoding': 'identity', connection: 'close' },
        createConnection: () => socket,
        signal: over
      }, resolve).on('error', reject).end()
    })
    if (response.statusCode !== 200) throw new Error(`${url.host} answered ${response.statusCode}`)
    const chunks: Buffer[] = []
    let bytes = 0
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > maxBytes) throw new Error(`what is at ${url.host} is larger than ${maxBytes} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  } finally {
    socket.destroy()
  }
}
