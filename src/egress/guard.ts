import { lookup } from 'node:dns/promises'
import { isIP, connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { LookupAddress } from 'node:dns'
import { createOwnAddresses, type OwnPlace, type Resolve } from './own-addresses.ts'
import { createEgressRules, type EgressSettings, type Reach } from './rules.ts'

/** An address that may not be called; its sentence says which setting would change that, if any. */
export class EgressRefusal extends Error {
  override readonly name = 'EgressRefusal'
}

/** The one door to addresses that users or third parties chose. */
export interface EgressGuard {
  /**
   * Says now what would be refused later. A name that cannot be resolved in time passes: it is looked at again
   * whenever it is called.
   * @throws EgressRefusal
   */
  check (url: URL, reach: Reach): Promise<void>
  /**
   * Connects, to no address but those just judged; a name is resolved once and the connection gets these very
   * addresses, so there is no moment at which it could mean others.
   * @throws EgressRefusal, or whatever the network says
   */
  connect (url: URL, reach: Reach, signal: AbortSignal): Promise<Socket>
  /** From now on this port of this machine is our own too. */
  protectPort (port: number): void
}

export interface EgressGuardDependencies {
  readonly settings: EgressSettings
  /** Our servers, Redis and whatever else is ours. */
  readonly places: () => readonly OwnPlace[]
  readonly resolve?: Resolve
  /** Milliseconds that connecting may take. */
  readonly connectTimeout?: number
}

/** How long a request waits for a name before it goes on without, in milliseconds. */
const checkPatience = 1000

const timeIsUp = 'the time was up before there was a connection'

const resolveAll: Resolve = async host => await lookup(host, { all: true, verbatim: true })

/** @throws Error for a wrong entry of EGRESS_ALLOW */
export function createEgressGuard (dependencies: EgressGuardDependencies): EgressGuard {
  const { settings, places, resolve = resolveAll, connectTimeout = 5000 } = dependencies
  const rules = createEgressRules(settings)
  const ports = new Set<number>()
  const ownAddresses = createOwnAddresses(
    () => [...places(), ...[...ports].map(port => ({ host: '127.0.0.1', port }))], resolve)

  /** The addresses to connect to. One bad answer among good ones spoils all: whoever gives it means no good. */
  async function judged (url: URL, reach: Reach): Promise<readonly LookupAddress[]> {
    const host = hostOf(url)
    const family = isIP(host)
    const [addresses, own] = await Promise.all([
      family === 0 ? resolve(host) : [{ address: host, family }], ownAddresses()
    ])
    for (const { address } of addresses) {
      const reason = rules.judge({ host, address, port: portOf(url), reach }, own)
      if (reason !== null) throw new EgressRefusal(reason)
    }
    if (addresses.length === 0) throw new Error(`${host} has no address`)
    return addresses
  }

  return {
    async check (url, reach) {
      let timer: NodeJS.Timeout | undefined
      const patience = new Promise<void>(resolve => { timer = setTimeout(resolve, checkPatience) })
      try {
        await Promise.race([judged(url, reach), patience])
      } catch (error) {
        if (error instanceof EgressRefusal) throw error
      } finally {
        clearTimeout(timer)
      }
    },
    async connect (url, reach, signal) {
      const addresses = await untilAborted(judged(url, reach), signal)
      signal.throwIfAborted()
      const socket = openSocket(url, addresses)
      // Whoever waits for something hears of errors; one between two waits must not end the process.
      socket.on('error', () => {})
      try {
        await connected(socket, url.protocol === 'https:' ? 'secureConnect' : 'connect', connectTimeout, signal)
        const address = socket.remoteAddress ?? ''
        const reason = rules.judge({ host: hostOf(url), address, port: portOf(url), reach }, await ownAddresses())
        if (reason !== null) throw new EgressRefusal(reason)
        return socket
      } catch (error) {
        socket.destroy()
        throw error
      }
    },
    protectPort (port) { ports.add(port) }
  }
}

export function hostOf (url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '')
}

export function portOf (url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
}

function openSocket (url: URL, addresses: readonly LookupAddress[]): Socket {
  const host = hostOf(url)
  const options = {
    host,
    port: portOf(url),
    autoSelectFamily: true,
    lookup: (_host: string, _options: unknown, answer: (error: null, addresses: LookupAddress[]) => void) => {
      answer(null, [...addresses])
    }
  }
  if (url.protocol !== 'https:') return connectTcp(options)
  // An address has no server name to send; its certificate is held to the address itself.
  return connectTls({ ...options, ALPNProtocols: ['http/1.1'], ...(isIP(host) === 0 ? { servername: host } : {}) })
}

async function connected (socket: Socket, event: string, timeout: number, signal: AbortSignal): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  let give = () => {}
  try {
    await new Promise<void>((resolve, reject) => {
      give = () => { reject(new Error(timeIsUp)) }
      signal.addEventListener('abort', give, { once: true })
      timer = setTimeout(() => { reject(new Error('no connection in time')) }, timeout)
      socket.once(event, () => { resolve() })
      socket.once('error', reject)
      socket.once('close', () => { reject(new Error('the connection was closed at once')) })
    })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', give)
  }
}

/** A lookup cannot be stopped, only left alone. */
async function untilAborted<Value> (work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  let give = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    give = () => { reject(new Error(timeIsUp)) }
    signal.addEventListener('abort', give, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', give)
  }
}
