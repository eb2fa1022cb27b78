import { EventEmitter, once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** Stands before a server and sees what it has to do at the same time. */
export interface WatchedServer {
  readonly url: string
  /** Paths that were asked to work, in their order. */
  readonly calls: readonly string[]
  /** The most that it ever had to do at once. */
  most (): number
  /** Resolves when so many calls have come in all. */
  came (count: number): Promise<void>
  /** Keeps back what comes from now on, until `release`. */
  hold (): void
  release (): void
}

/** What A1111 works on one after another. A GET there only finds out whether the route exists. */
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
      // Counted as done before the caller can know of it.
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
