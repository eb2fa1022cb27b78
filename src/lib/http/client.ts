import type { IncomingHttpHeaders } from 'node:http'
import type { Readable } from 'node:stream'
import { Agent, Client } from 'undici'
import { createConnect, type ConnectPolicy } from './connect.ts'
import { dispatch } from './dispatch.ts'

/*
 * Everything that this service asks of others by HTTP goes through here. undici is pinned to 7.25.0: 7.26 to 7.30 end
 * the whole process when a server closes a connection whose reader is behind (nodejs/undici#5360). The way out is
 * undici 8, which runs on Node 22 and newer, as soon as that is our oldest; test/lib/http.test.ts reproduces it.
 */

export interface HttpPolicy extends ConnectPolicy {
  /**
   * Connections to each origin that are kept for the next request, and for how many milliseconds. Absent: each request
   * has a connection of its own. What must not be done twice, or lost on a connection that is just closing, needs that.
   */
  readonly keep?: { readonly connections: number, readonly idleMs: number }
}

export interface HttpRequest {
  readonly url: URL
  /** GET unless told otherwise. */
  readonly method?: 'GET' | 'POST' | 'DELETE'
  readonly headers?: Readonly<Record<string, string>>
  /** A stream is sent as fast as the server takes it. */
  readonly body?: string | Buffer | Readable
  /** Ends the request and its answer, whenever it fires, with its reason. */
  readonly signal: AbortSignal
  /** Milliseconds that the server may be silent, unless it is us that are behind; absent: any time. */
  readonly idleMs?: number
}

/** An answer whose headers are in. Its body is read once, no faster than it is taken, or destroyed. */
export interface HttpAnswer {
  readonly statusCode: number
  readonly headers: IncomingHttpHeaders
  readonly body: AsyncIterable<Buffer> & {
    destroy (): unknown
    once (event: 'error', listener: (error: Error) => void): unknown
  }
}

export interface HttpClient {
  /**
   * Resolves when the answer's headers are in, whatever its status; follows no redirect.
   * @param onConnected called with the server's address when the connection stands and the request is being written;
   *   not for a kept connection
   * @throws the signal's reason, what `resolve` threw, or the error of the connection
   */
  request (request: HttpRequest, onConnected?: (address: string) => void): Promise<HttpAnswer>
  /** Ends what is under way and every kept connection. */
  close (): Promise<void>
}

export function createHttpClient (policy: HttpPolicy): HttpClient {
  return policy.keep === undefined ? createSingleUseClient(policy) : createKeepingClient(policy, policy.keep)
}

function createKeepingClient (
  policy: ConnectPolicy, { connections, idleMs }: NonNullable<HttpPolicy['keep']>
): HttpClient {
  const agent = new Agent({
    connections,
    pipelining: 1,
    keepAliveTimeout: idleMs,
    keepAliveMaxTimeout: idleMs,
    connect: createConnect(policy)
  })
  return {
    request: request => dispatch(agent, request, {}),
    close: () => agent.destroy()
  }
}

function createSingleUseClient (policy: ConnectPolicy): HttpClient {
  const running = new Set<Client>()

  return {
    async request (request, onConnected = () => {}) {
      const end = { closed: false, reset: false }
      const client = new Client(request.url.origin, {
        pipelining: 1,
        connect: createConnect(policy, request.signal, socket => {
          // heard before undici's own listeners make the end of the answer of it
          socket.once('end', () => { end.closed = true })
          socket.on('error', (error: NodeJS.ErrnoException) => { end.reset ||= error.code === 'ECONNRESET' })
          onConnected(socket.remoteAddress ?? '')
        })
      })
      running.add(client)
      try {
        const answer = dispatch(client, request, { reset: true }, () => end)
        // Nothing more is sent: once the answer is in, the connection is closed.
        client.close(() => { running.delete(client) })
        return await answer
      } catch (error) {
        client.destroy().catch(() => {})
        throw error
      }
    },
    async close () {
      await Promise.all([...running].map(async client => { await client.destroy() }))
    }
  }
}
