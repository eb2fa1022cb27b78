import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { Test } from 'tap'

/** The oddities of a proxy in front of a simulated server. */
export interface Oddities {
  /** Answers instead of the server; undefined: passes the request on. */
  readonly answer?: (seen: { readonly method: string, readonly path: string, readonly body: Buffer }) =>
    { readonly status: number, readonly body: string, readonly contentType?: string } | undefined
  /** Largest body in bytes; larger ones get 413, as from nginx. */
  readonly largestBody?: number
  /** Milliseconds after which the proxy answers 504. */
  readonly gatewayTimeout?: number
  /** Added to each answer. */
  readonly headers?: Readonly<Record<string, string>>
  /** Changes a request before it is passed on. */
  readonly change?: (seen: { readonly path: string, readonly body: Buffer }) => Buffer
  /** Changes an answer of the server. */
  readonly rewrite?: (path: string, status: number, text: string) => { status: number, text: string } | undefined
}

export interface OddServer {
  readonly url: string
  /** Requests so far, as `POST /path`. */
  readonly requests: readonly string[]
}

/** A hand-written proxy in front of a simulator. */
export async function startOddServer (t: Pick<Test, 'teardown'>, target: string, odd: Oddities): Promise<OddServer> {
  const requests: string[] = []

  async function handle (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const parts: Buffer[] = []
    for await (const chunk of incoming) parts.push(chunk as Buffer)
    const body = Buffer.concat(parts)
    const path = incoming.url ?? '/'
    const method = incoming.method ?? 'GET'
    requests.push(`${method} ${path.split('?')[0] ?? ''}`)
    const send = (status: number, text: string, contentType = 'application/json') => {
      if (outgoing.headersSent) return
      outgoing.writeHead(status, { 'content-type': contentType, ...odd.headers }).end(text)
    }
    if (odd.largestBody !== undefined && body.length > odd.largestBody) {
      return send(413, '<html>413 Request Entity Too Large</html>', 'text/html')
    }
    const own = odd.answer?.({ method, path: path.split('?')[0] ?? '', body })
    if (own !== undefined) return send(own.status, own.body, own.contentType)
    const timer = odd.gatewayTimeout === undefined
      ? undefined
      : setTimeout(() => { send(504, '<html>504 Gateway Time-out</html>', 'text/html') }, odd.gatewayTimeout)
    const { headers } = incoming
    delete headers['accept-encoding']
    const sent = odd.change?.({ path: path.split('?')[0] ?? '', body }) ?? body
    if (headers['content-length'] !== undefined) headers['content-length'] = String(sent.length)
    const passed = request(target + path, { method, headers: { ...headers, host: new URL(target).host } })
    passed.end(sent)
    try {
      const [answer] = await once(passed, 'response') as [IncomingMessage]
      const received: Buffer[] = []
      for await (const chunk of answer) received.push(chunk as Buffer)
      const text = Buffer.concat(received).toString('utf8')
      const other = odd.rewrite?.(path.split('?')[0] ?? '', answer.statusCode ?? 0, text)
      send(other?.status ?? answer.statusCode ?? 502, other?.text ?? text, String(answer.headers['content-type'] ?? 'text/plain'))
    } finally {
      clearTimeout(timer)
    }
  }

  const server = createServer((incoming, outgoing) => {
    handle(incoming, outgoing).catch(() => { outgoing.destroy() })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  return { url: `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`, requests }
}
