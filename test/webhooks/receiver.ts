import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo, Server } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { Webhook } from 'standardwebhooks'
import type { Test } from 'tap'

/** One request to a receiver. */
export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly event: ReceivedEvent
}

export interface ReceivedEvent {
  readonly type: string
  readonly timestamp: string
  readonly data: {
    readonly id: string
    readonly status: string
    readonly sequence: number
    readonly metadata: unknown
    readonly result: { readonly images: ReadonlyArray<{ url: string, base64?: string, sha256: string }> } | null
    readonly error: { code: string, message: string } | null
  }
  readonly [name: string]: unknown
}

export type Respond = (request: Received, response: ServerResponse, count: number) => void

/** A receiver on loopback that verifies with the public library and keeps its requests. */
export interface Receiver {
  readonly url: string
  readonly port: number
  readonly requests: readonly Received[]
  /** Sets its answer from now on. */
  respond (how: Respond): void
  /** Resolves when this many requests match. */
  until (count: number, fits?: (request: Received) => boolean): Promise<Received[]>
}

const accept: Respond = (_request, response) => { response.writeHead(204).end() }

/** @param secrets each delivery must verify under one of them, or the test fails */
export async function startReceiver (
  t: Pick<Test, 'teardown' | 'fail'>, secrets: readonly string[], respond: Respond = accept
): Promise<Receiver> {
  const requests: Received[] = []
  const waiting = new Set<() => void>()
  let how = respond
  async function take (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const text = (await buffer(request)).toString('utf8')
    const received: Received = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      text,
      event: text === '' ? {} as ReceivedEvent : JSON.parse(text) as ReceivedEvent
    }
    const { 'webhook-id': id, 'webhook-signature': signature } = received.headers
    if (!secrets.some(secret => isGenuine(secret, received))) t.fail(`no secret verifies ${String(id)}: ${String(signature)}`)
    requests.push(received)
    how(received, response, requests.length)
    for (const look of waiting) look()
  }
  const server = createServer((request, response) => { take(request, response).catch(() => { response.destroy() }) })
  const port = await listen(t, server)
  return {
    url: `http://127.0.0.1:${port}/hook`,
    port,
    requests,
    respond (next) { how = next },
    until: async (count, fits = () => true) => await new Promise(resolve => {
      const look = () => {
        const found = requests.filter(fits)
        if (found.length < count) return
        waiting.delete(look)
        resolve(found)
      }
      waiting.add(look)
      look()
    })
  }
}

/** The public library's verification, which throws unless the signature is right and fresh. */
export function isGenuine (secret: string, { text, headers }: Pick<Received, 'text' | 'headers'>): boolean {
  try {
    new Webhook(secret).verify(text, headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}

/** Starts any server on loopback and ends it with the test, connections included. */
export async function listen (t: Pick<Test, 'teardown'>, server: Server): Promise<number> {
  const sockets = new Set<{ destroy: () => void }>()
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => { sockets.delete(socket) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port
}
