import { type IncomingMessage, request as requestOver } from 'node:http'
import type { Socket } from 'node:net'
import { pipeline, Readable } from 'node:stream'
import {
  type ConnectPolicy, destinationOf, openConnection, type Place, prepareConnection, type PreparedConnection
} from './connect.ts'
import { type HttpAnswer, type HttpClient, type HttpRequest, Silence } from './exchange.ts'

type Headers = NonNullable<HttpRequest['headers']>

/**
 * Each request has a connection of its own, opened by us and closed after the answer. This is Node's own client, which
 * costs half of what undici does: undici sets up a pool, and ends each connection with an error.
 */
export function createSingleUseClient (policy: ConnectPolicy): HttpClient {
  /** Each ends a request and its answer. */
  const running = new Set<(reason: Error) => void>()
  const prepared = new Set<PreparedConnection>()

  /** Uses the prepared connection, if there is one. */
  async function connect ({ url, headers = {}, signal, over }: HttpRequest): Promise<Socket> {
    const taken = over?.take() ?? null
    if (taken === null) return await openConnection(policy, placeOf(url, headers), signal)
    const socket = await taken
    try {
      policy.admit?.(destinationOf(url))
      if (socket.destroyed) throw new Error('the connection was closed')
      return socket
    } catch (error) {
      socket.destroy()
      throw error
    }
  }

  return {
    prepare (url, headers) {
      const connection = prepareConnection(policy, placeOf(url, headers))
      const one: PreparedConnection = {
        take () {
          prepared.delete(one)
          return connection.take()
        },
        close () {
          prepared.delete(one)
          connection.close()
        }
      }
      prepared.add(one)
      return one
    },
    async request (request, onConnected = () => {}) {
      const { signal } = request
      signal.throwIfAborted()
      return await new Promise<HttpAnswer>((resolve, reject) => {
        let exchange: { destroy (reason: Error): unknown } | undefined
        let stopped: Error | null = null
        function release (): void {
          running.delete(stop)
          signal.removeEventListener('abort', abort)
        }
        function stop (reason: Error): void {
          stopped = reason
          release()
          reject(reason)
          exchange?.destroy(reason)
          if (exchange === undefined) discard(request)
        }
        const abort = () => { stop(signal.reason) }
        running.add(stop)
        signal.addEventListener('abort', abort, { once: true })
        connect(request).then(socket => {
          if (stopped !== null) {
            socket.destroy()
            return
          }
          onConnected(socket.remoteAddress ?? '')
          exchange = send(socket, request, {
            onAnswer (answer) {
              exchange = answer
              resolve({ statusCode: answer.statusCode ?? 0, headers: answer.headers, body: answer })
            },
            onError: reject,
            onClosed: release
          })
        }).catch((error: unknown) => {
          if (stopped === null) discard(request)
          release()
          reject(error)
        })
      })
    },
    async close () {
      for (const connection of prepared) connection.close()
      for (const stop of running) stop(new Error('the client was closed'))
    }
  }
}

function placeOf (url: URL, headers: Headers): Place {
  const destination = destinationOf(url)
  // The name of the certificate is that of the header, as in undici.
  const named = Object.entries(headers).find(([name]) => name.toLowerCase() === 'host')?.[1]
  const servername = named === undefined ? destination.host : named.replace(/:\d+$/, '')
  return { destination, secure: url.protocol === 'https:', servername }
}

/** A body that will not be sent. */
function discard ({ body }: HttpRequest): void {
  if (body instanceof Readable) body.destroy()
}

interface Exchange {
  onAnswer (answer: IncomingMessage): void
  /** The connection ended without an answer. */
  onError (error: Error): void
  onClosed (): void
}

/** Sends a request over an open connection that carries nothing else. */
function send (
  socket: Socket, { url, method = 'GET', headers = {}, body, idleMs = 0 }: HttpRequest,
  { onAnswer, onError, onClosed }: Exchange
) {
  let answer: IncomingMessage | undefined
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const sending = requestOver({
    createConnection: () => socket,
    method,
    path: `${url.pathname}${url.search}`,
    // A packed answer would have to be unpacked without knowing how large it gets; and A1111 would pack images, which
    // costs it far more time than it saves on the wire.
    headers: {
      host: url.host,
      'accept-encoding': 'identity',
      ...(Buffer.isBuffer(bytes) ? { 'content-length': bytes.length } : {}),
      ...headers
    },
    joinDuplicateHeaders: true
  })

  function fail (error: Error): void {
    if (answer === undefined) onError(error)
    // What has arrived whole can still be read. Without a length, the end of the connection ends the answer, unless it
    // broke off.
    else if (!answer.complete) answer.destroy(error)
  }

  sending.once('response', arrived => {
    answer = arrived
    // An error without a reader must not end the process; a reader gets it.
    answer.on('error', () => {})
    onAnswer(answer)
  })
  sending.on('error', fail)
  sending.once('close', onClosed)
  if (idleMs > 0) {
    socket.setTimeout(idleMs, () => {
      const isBehind = answer !== undefined && answer.readableLength > 0
      const read = socket.bytesRead
      // Timers fire before the bytes that came while the process did not run are read.
      setImmediate(() => {
        if (isBehind || socket.bytesRead > read) socket.setTimeout(idleMs)
        else sending.destroy(new Silence(url, idleMs))
      })
    })
  }
  if (bytes instanceof Readable) pipeline(bytes, sending, error => { if (error != null) fail(error) })
  else sending.end(bytes)
  return sending
}
