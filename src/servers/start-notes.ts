import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * Why a server gets no request. `away`: nothing accepted the last connection. `starting`: it accepts connections again,
 * and gets no requests for a while. `gateway`: a proxy in front of it reports that it is away.
 */
export type StartPhase = 'away' | 'starting' | 'gateway'

export interface StartNote {
  readonly phase: StartPhase
  readonly leftMs: number
}

/**
 * The servers that are away or starting, by the address where they listen. Without a note a server can get requests.
 */
export interface StartNotes {
  read (address: string): Promise<StartNote | null>
  write (address: string, phase: StartPhase, forMs: number): Promise<void>
  /** A server that was away accepts connections. False if it was not away, or this is known already. */
  connected (address: string, waitMs: number): Promise<boolean>
  clear (address: string): Promise<void>
  /** Whether this process can do something that all processes together do once in this many milliseconds. */
  claim (address: string, forMs: number): Promise<boolean>
}

const noteConnected = loadScript<[note: string], [waitMs: number], 0 | 1>(
  new URL('scripts/note-connected.lua', import.meta.url))

/** Shared by all processes. Redis keeps the times, so that no two clocks are compared. */
export function createStartNotes (redis: Redis, keys: Keys): StartNotes {
  const noteKey = (address: string) => keys.key('start', address)
  const claimKey = (address: string) => keys.key('start', address, 'claim')

  return {
    async read (address) {
      const [[, phase], [, left]] = await redis.multi().get(noteKey(address)).pttl(noteKey(address)).exec() as
        [[unknown, StartPhase | null], [unknown, number]]
      return phase === null || left <= 0 ? null : { phase, leftMs: left }
    },
    async write (address, phase, forMs) {
      await redis.set(noteKey(address), phase, 'PX', whole(forMs))
    },
    async connected (address, waitMs) {
      return await noteConnected(redis, [noteKey(address)], [whole(waitMs)]) === 1
    },
    async clear (address) {
      await redis.del(noteKey(address))
    },
    async claim (address, forMs) {
      return await redis.set(claimKey(address), '1', 'PX', whole(forMs), 'NX') === 'OK'
    }
  }
}

/** For a single process without Redis. */
export function createLocalStartNotes (): StartNotes {
  const notes = new Map<string, { readonly phase: StartPhase, readonly until: number }>()
  const claims = new Map<string, number>()

  function noteOf (address: string): StartNote | null {
    const note = notes.get(address)
    const leftMs = (note?.until ?? 0) - performance.now()
    return note === undefined || leftMs <= 0 ? null : { phase: note.phase, leftMs }
  }

  return {
    read: async address => noteOf(address),
    async write (address, phase, forMs) {
      notes.set(address, { phase, until: performance.now() + forMs })
    },
    async connected (address, waitMs) {
      if (noteOf(address)?.phase !== 'away') return false
      notes.set(address, { phase: 'starting', until: performance.now() + waitMs })
      return true
    },
    async clear (address) {
      notes.delete(address)
    },
    async claim (address, forMs) {
      if (performance.now() < (claims.get(address) ?? 0)) return false
      claims.set(address, performance.now() + forMs)
      return true
    }
  }
}

/** If the shared notes are not available in time, this process uses its own. */
export function withLocalNotes (shared: StartNotes, patienceMs: number): StartNotes {
  const local = createLocalStartNotes()

  async function both<Value> (ask: (notes: StartNotes) => Promise<Value>): Promise<Value> {
    const own = await ask(local)
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<Value>(resolve => { timer = setTimeout(() => { resolve(own) }, patienceMs) })
    try {
      return await Promise.race([ask(shared).catch(() => own), late])
    } finally {
      clearTimeout(timer)
    }
  }

  return {
    async read (address) {
      const note = await both(async notes => await notes.read(address))
      if (note === null) await local.clear(address)
      else await local.write(address, note.phase, note.leftMs)
      return note
    },
    write: async (address, phase, forMs) => await both(async notes => { await notes.write(address, phase, forMs) }),
    connected: async (address, waitMs) => await both(async notes => await notes.connected(address, waitMs)),
    clear: async address => await both(async notes => { await notes.clear(address) }),
    claim: async (address, forMs) => await both(async notes => await notes.claim(address, forMs))
  }
}

function whole (milliseconds: number): number {
  return Math.max(1, Math.round(milliseconds))
}
