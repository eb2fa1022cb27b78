import { EventEmitter, once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** A proxy in front of a server that counts its calls at the same time. */
export interface WatchedServer {
  readonly url: string
  /** Paths of the calls in their order. */
  readonly calls: readonly string[]
  /** The most calls at the same time. */
  most (): number
  /** Resolves after this many calls in total. */
  came (count: number): Promise<void>
  /** Holds back further calls until `release`. */
  hold (): void
  release (): void
}

/** Routes that A1111 runs one after another. A GET there only checks whether the route exists. */
const work = /^\/(sdapi\/v1\/(txt2img|extra-|interrogate|refresh-)|controlnet\/detect)/

export async function watchServer (t: Pick<Test, 'teardown'>, target: string): Promise<WatchedServer> {
  const events = new EventEmitter()
  const calls: string[] = []
  let now = 0
  let most = 0
  let held: Promise<unknown> = Promise.resolve()

  async function forward (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? ''
    const counts = request.method === 'POST' && work.test(path)
    if (counts) {
      calls.push(path)
      most = Math.max(most, ++now)
      events.emit('call')
      await held
    }
    const onward = httpRequest(target + path, { method: request.method, headers: request.headers })
    onward.on('error', () => { response.destroy() })
    onward.on('response', answer => {
      // Counted as done before the client can know that.
      answer.on('end', () => { if (counts) now-- })
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    request.pipe(onward)
  }

  const server = createServer((request, response) => { forward(request, response).catch(() => { response.destroy() }) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    most: () => most,
    async came (count) { while (calls.length < count) await once(events, 'call') },
    hold () { held = once(events, 'release') },
    release () { events.emit('release') }
  }
}
