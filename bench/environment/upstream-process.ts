import { subscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { startSimulator, type SimulatorOptions } from '../../src/simulator/simulator.ts'
import { now } from '../statistics.ts'
import { answerParent } from './answer-parent.ts'
import { startInstantServer, type InstantServerOptions } from './instant-server.ts'

/** One request as the server saw it, in milliseconds of `now()`. */
export interface Seen {
  readonly path: string
  /** When its headers were in. */
  readonly arrived: number
  /** When the last byte of the answer was handed over; null while it is not. */
  finished: number | null
}

export type UpstreamOptions =
  { readonly kind: 'instant', readonly options: InstantServerOptions } |
  { readonly kind: 'simulator', readonly options: SimulatorOptions }

/** The parent waits for so many more answers to requests of this path. */
interface Wait {
  readonly path: string
  left: number
  readonly resolve: () => void
}

/** A server for the service to use, which writes down when requests came and went. */
let port = 0
let seen: Seen[] = []
let waits: Wait[] = []
let underWay = new WeakMap<IncomingMessage, Seen>()

// Node reports every request of every server, so the simulator need not know that it is watched.
subscribe('http.server.request.start', message => {
  const { request } = message as { request: IncomingMessage }
  if (request.socket.localPort !== port) return
  const entry: Seen = { path: request.url ?? '', arrived: now(), finished: null }
  underWay.set(request, entry)
  seen.push(entry)
})
subscribe('http.server.response.finish', message => {
  const { request } = message as { request: IncomingMessage }
  const entry = underWay.get(request)
  if (entry === undefined) return
  entry.finished = now()
  for (const wait of waits) if (wait.path === entry.path && --wait.left === 0) wait.resolve()
  waits = waits.filter(({ left }) => left > 0)
})

const seenOf = (path: string) => seen.filter(entry => entry.path === path)
const answeredOf = (path: string) => seenOf(path).filter(({ finished }) => finished !== null)

/** Resolves once so many are answered. To be asked for them meanwhile would keep this process from the next request. */
async function answered (path: string, count: number): Promise<Seen[]> {
  const left = count - answeredOf(path).length
  if (left > 0) await new Promise<void>(resolve => { waits.push({ path, left, resolve }) })
  return answeredOf(path)
}

answerParent({
  async start (value) {
    const { kind, options } = value as UpstreamOptions
    if (kind === 'simulator') {
      const simulator = await startSimulator(options)
      port = simulator.port
    } else {
      const server = await startInstantServer(options)
      server.listen(0, '127.0.0.1')
      await once(server, 'listening')
      port = (server.address() as AddressInfo).port
    }
    return `http://127.0.0.1:${port}`
  },
  seen: path => seenOf(path as string),
  answered (value) {
    const { path, count } = value as { path: string, count: number }
    return answered(path, count)
  },
  forget () {
    seen = []
    underWay = new WeakMap()
  }
}, () => process.exit())
