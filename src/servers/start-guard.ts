import { setTimeout as sleep } from 'node:timers/promises'
import { connectionFailure } from '../a1111/failures.ts'
import type { StartGuard, Visit } from '../a1111/connection.ts'
import { GenerationFailure } from '../a1111/types.ts'
import {
  type ConnectPolicy, type Destination, destinationOf, type IdleConnection, openIdleConnection
} from '../lib/http/connect.ts'
import type { Log } from '../lib/logging.ts'
import type { StartNote, StartNotes, StartPhase } from './start-notes.ts'

/**
 * Protects a server that is starting. After it refused connections it gets no requests, only one bare connection a
 * second, which does no harm. After a connection succeeds, it gets no request for some more time. All processes share
 * this knowledge.
 */
export interface ServerStarts extends StartGuard {
  /**
   * Keeps one idle connection open, to notice at once when the server goes away: between two probes a restart could
   * begin unnoticed. A server that closes unused connections is not watched.
   * @returns ends the watching
   */
  watch (url: URL, onGone: () => void): () => void
  /** Whether such a connection is open now. */
  isWatched (url: URL): boolean
}

export interface ServerStartsDependencies {
  readonly notes: StartNotes
  /** From the first connection that a server accepts after it refused one until its first request, in milliseconds. */
  readonly waitMs: number
  readonly resolve: NonNullable<ConnectPolicy['resolve']>
  readonly log: Log
}

/** Least time between two bare connections to a server, by all processes together, in milliseconds. */
const connectInterval = 1000
/** Shorter than a small call, so that the call can report why there is no connection. */
const connectTimeoutMs = 4000
/**
 * A forwarder accepts a connection before it finds no server behind it, and closes it within this time, in
 * milliseconds.
 */
const lingerMs = 150
/** After this long without a probe an earlier refusal no longer counts, in milliseconds. */
const rememberedMs = 600_000
/** A server that answered within this time has not been away since, in milliseconds. */
const trustMs = 200
/** A server that closes an unused connection sooner than this closes all of them, in milliseconds. */
const quicklyClosed = 30_000

/** Within this time all connections of a dead process are seen to close, in milliseconds. */
const togetherMs = 100

/**
 * Statuses by which a proxy reports that the server behind it is away; the second group also occurs for a slow request.
 */
const awayStatuses = new Set([502, 503, 521, 522, 523, 530])
const lateStatuses = new Set([504, 524])

/** An address where servers listen, as this process knows it. */
interface ListeningAddress {
  readonly name: string
  readonly destination: Destination
  /** The note as last read or written. */
  note: { readonly phase: StartPhase, readonly until: number } | null
  reason: GenerationFailure | null
  answeredAt: number
  connecting: Promise<void> | null
  /** A request under way through a proxy; its answer decides whether others can follow. */
  asking: Promise<void> | null
  /** Open idle connections; while one is open, the process that accepted it was not restarted. */
  readonly held: Set<IdleConnection>
}

export function createServerStarts ({ notes, waitMs, resolve, log }: ServerStartsDependencies): ServerStarts {
  const addresses = new Map<string, ListeningAddress>()
  const interval = Math.min(connectInterval, Math.max(waitMs, 20))
  const policy: ConnectPolicy = { connectTimeoutMs, resolve }

  function addressAt (destination: Destination): ListeningAddress {
    const name = `${destination.host}:${destination.port}`
    const known = addresses.get(name)
    if (known !== undefined) return known
    const address: ListeningAddress = {
      name,
      destination,
      note: null,
      reason: null,
      answeredAt: -Infinity,
      connecting: null,
      asking: null,
      held: new Set()
    }
    addresses.set(name, address)
    return address
  }

  async function read (address: ListeningAddress): Promise<StartNote | null> {
    const note = await notes.read(address.name)
    remember(address, note === null ? null : note.phase, note?.leftMs ?? 0)
    return note
  }

  async function write (address: ListeningAddress, phase: StartPhase, forMs: number): Promise<void> {
    address.answeredAt = Math.min(address.answeredAt, performance.now() - trustMs)
    if (waitMs === 0) return
    remember(address, phase, forMs)
    await notes.write(address.name, phase, forMs)
  }

  /** Whether the listening process lives on, although a connection to it was lost or not accepted. */
  async function outlives (address: ListeningAddress): Promise<boolean> {
    const held = [...address.held]
    if (held.length === 0) return false
    // All connections of a process close together, but are not seen to close at exactly the same time.
    await sleep(togetherMs)
    if (held.every(connection => !address.held.has(connection))) return false
    remember(address, null, 0)
    await notes.clear(address.name)
    return true
  }

  /** One bare connection, unless there was one just before. */
  async function tryConnection (address: ListeningAddress): Promise<void> {
    if (!await notes.claim(address.name, interval * 0.9)) return
    const begin = performance.now()
    try {
      await staysOpen(await openIdleConnection(policy, address.destination), Math.min(lingerMs, waitMs / 2))
    } catch (error) {
      const failure = connectionFailure(error, 'connecting')
      address.reason = failure
      // A fault of this machine, or an address that is not allowed, is no sign against the server.
      if (failure.failureClass === 'internal' || failure.code === 'address_not_allowed') throw failure
      await write(address, 'away', rememberedMs)
      return
    }
    if (!await notes.connected(address.name, waitMs - (performance.now() - begin))) return
    log.info({ place: address.name },
      `the server accepts connections again; it gets its first request in ${waitMs / 1000} s`)
  }

  async function connectOnce (address: ListeningAddress): Promise<void> {
    address.connecting ??= tryConnection(address).finally(() => { address.connecting = null })
    await address.connecting
  }

  function visit (address: ListeningAddress, url: URL, method: string, finished = () => {}): Visit {
    return {
      async answered (status) {
        try {
          await judgeAnswer(address, url, { method, status })
        } finally {
          finished()
        }
      },
      async failed (error) {
        try {
          await judgeFailure(address, error)
        } finally {
          finished()
        }
      },
      left: finished
    }
  }

  async function judgeAnswer (
    address: ListeningAddress, url: URL, { method, status }: { readonly method: string, readonly status: number }
  ): Promise<void> {
    if (awayStatuses.has(status) || (method === 'GET' && lateStatuses.has(status))) {
      address.reason = null
      return await write(address, 'gateway', rememberedMs)
    }
    if (status === 404 && url.pathname.endsWith('/sdapi/v1/options')) {
      // Its port is open but its API does not exist yet: the phase in which a request does harm can still come.
      address.reason = withoutApi()
      return await write(address, 'starting', waitMs)
    }
    address.answeredAt = performance.now()
    if (address.note?.phase !== 'gateway') return
    remember(address, null, 0)
    await notes.clear(address.name)
  }

  async function judgeFailure (address: ListeningAddress, error: unknown): Promise<void> {
    const failure = connectionFailure(error, 'connecting')
    const isRefused = ['connection_refused', 'host_not_found', 'host_unreachable', 'connect_timeout'].includes(failure.code)
    // If nothing ever answered, a lost connection more likely means another protocol.
    if (!isRefused && (failure.code !== 'connection_lost' || address.answeredAt === -Infinity)) return
    address.reason = failure
    await write(address, 'away', rememberedMs)
  }

  /** A proxy accepts every connection, so only a request can tell. */
  async function enterThroughProxy (address: ListeningAddress, url: URL, method: string): Promise<Visit> {
    if (method !== 'GET' || !await notes.claim(`${address.name} behind a proxy`, waitMs)) {
      throw refusal(address, 'gateway', waitMs)
    }
    let finish = () => {}
    address.asking = new Promise<void>(resolve => { finish = resolve }).finally(() => { address.asking = null })
    return visit(address, url, method, finish)
  }

  return {
    async enter ({ url, method = 'GET', signal }) {
      const address = addressAt(destinationOf(url))
      if (performance.now() - address.answeredAt < trustMs) return visit(address, url, method)
      await unlessAborted(address.asking, signal)
      let note = await unlessAborted(read(address), signal)
      if (note?.phase === 'gateway') return await enterThroughProxy(address, url, method)
      if (note !== null && await unlessAborted(outlives(address), signal) === true) note = null
      if (note !== null) {
        await unlessAborted(connectOnce(address), signal)
        note = await unlessAborted(read(address), signal)
      }
      if (note !== null) throw refusal(address, note.phase, note.leftMs)
      return visit(address, url, method)
    },
    admit (destination) {
      const address = addressAt(destination)
      const left = (address.note?.until ?? 0) - performance.now()
      if (address.note === null || address.note.phase === 'gateway' || left <= 0) return
      throw refusal(address, address.note.phase, left)
    },
    watch (url, onGone) {
      const address = addressAt(destinationOf(url))
      const connect = async (signal: AbortSignal) => await openIdleConnection(policy, address.destination, signal)
      return holdConnection(connect, address.held, error => {
        judgeFailure(address, error).finally(onGone).catch(() => undefined)
      })
    },
    isWatched: url => addressAt(destinationOf(url)).held.size > 0
  }

  function remember (address: ListeningAddress, phase: StartPhase | null, forMs: number): void {
    address.note = phase === null ? null : { phase, until: performance.now() + forMs }
  }

  function refusal (address: ListeningAddress, phase: StartPhase, leftMs: number): GenerationFailure {
    if (phase === 'away') {
      return address.reason ?? new GenerationFailure('server-down', 'connection_refused',
        'Nothing listened at the server\'s address a moment ago.', { retryAfterMs: interval })
    }
    const seconds = Math.max(1, Math.ceil(leftMs / 1000))
    if (phase === 'gateway') {
      return new GenerationFailure('server-down', 'bad_gateway', 'A proxy in front of the server says that it is away; ' +
        `the next request follows in ${seconds} s.`, { retryAfterMs: leftMs })
    }
    return new GenerationFailure('server-down', 'server_starting', startingWords(address.reason, seconds), {
      retryAfterMs: leftMs
    })
  }
}

function withoutApi (): GenerationFailure {
  return new GenerationFailure('server-down', 'route_missing', 'The server does not offer its API.')
}

function startingWords (reason: GenerationFailure | null, seconds: number): string {
  switch (reason?.code) {
    case 'route_missing':
      return `The server answers without its API; is it starting, or running without --api? The next request follows in ${seconds} s.`
    case 'connection_lost':
      return 'A connection to the server was lost, and it accepts new ones. It possibly restarted, and a request could ' +
        `disturb a starting server; the next request follows in ${seconds} s.`
    default:
      return `The server is starting: it accepts connections again, and gets its first request in ${seconds} s.`
  }
}

/** @throws Error if the other side closes it */
async function staysOpen (connection: IdleConnection, milliseconds: number): Promise<void> {
  const ended = connection.ended.then(() => {
    throw Object.assign(new Error('the connection was closed at once'), { code: 'ECONNREFUSED' })
  })
  try {
    await Promise.race([sleep(milliseconds), ended])
  } finally {
    ended.catch(() => { /* by us */ })
    connection.close()
  }
}

/** Calls `onRefused` once when a connection ends and no other is accepted. @param held contains the open one */
function holdConnection (
  connect: (signal: AbortSignal) => Promise<IdleConnection>, held: Set<IdleConnection>,
  onRefused: (error: unknown) => void
): () => void {
  const stop = new AbortController()

  async function hold (): Promise<void> {
    let quickEnds = 0
    while (!stop.signal.aborted && quickEnds < 2) {
      const openedAt = performance.now()
      const connection = await connect(stop.signal)
      held.add(connection)
      await connection.ended
      held.delete(connection)
      quickEnds = performance.now() - openedAt < quicklyClosed ? quickEnds + 1 : 0
    }
  }

  hold().catch((error: unknown) => { if (!stop.signal.aborted) onRefused(error) })
  return () => { stop.abort() }
}

async function unlessAborted<Value> (work: Promise<Value> | null, signal: AbortSignal): Promise<Value | null> {
  signal.throwIfAborted()
  if (work === null) return null
  let abort = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => { reject(signal.reason) }
    signal.addEventListener('abort', abort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
