import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, request as httpRequest, type IncomingHttpHeaders, type RequestListener } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { inRepository } from '../root.ts'

/** Certificates of `test/certificates`, by name. */
export const pem = (name: string): string => readFileSync(inRepository(`test/certificates/${name}.pem`), 'utf8')

export interface SendSlot {
  /** At 127.0.0.1. */
  readonly url: string
  readonly port: number
  /** Paths and headers of the requests, in their order. */
  readonly seen: Array<{ path: string, headers: IncomingHttpHeaders }>
}

/**
 * A proxy in front of a server that accepts requests with the right headers, and answers others with what they sent.
 */
export async function startGate (
  t: Pick<Test, 'teardown'>, target: string, isRight: (headers: IncomingHttpHeaders) => boolean,
  chain: readonly string[] | null = null
): Promise<SendSlot> {
  const seen: SendSlot['seen'] = []
  const listener: RequestListener = (request, response) => {
    seen.push({ path: request.url ?? '', headers: request.headers })
    if (!isRight(request.headers)) {
      request.resume()
      response.writeHead(401, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ detail: `not with ${JSON.stringify(request.headers)}` }))
      return
    }
    const { authorization: _gates, ...headers } = request.headers
    const onwards = httpRequest(target + (request.url ?? ''), { method: request.method ?? 'GET', headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onwards.on('error', () => { response.destroy() })
    request.pipe(onwards)
  }
  const server = chain === null
    ? createHttpServer(listener)
    : createHttpsServer({ key: pem('key'), cert: chain.map(pem).join('') }, listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { url: `${chain === null ? 'http' : 'https'}://127.0.0.1:${port}`, port, seen }
}
