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
  read (place: string): Promise<StartNote | null>
  write (place: string, phase: StartPhase, forMs: number): Promise<void>
  /** A server that was away accepts connections. False if it was not away, or this is known already. */
  connected (place: string, waitMs: number): Promise<boolean>
  clear (place: string): Promise<void>
  /** Whether this process can do something that all processes together do once in this many milliseconds. */
  claim (place: string, forMs: number): Promise<boolean>
}

const noteConnected = loadScript<[note: string], [waitMs: number], 0 | 1>(
  new URL('scripts/note-connected.lua', import.meta.url))

/** Shared by all processes. Redis keeps the times, so that no two clocks are compared. */
export function createStartNotes (redis: Redis, keys: Keys): StartNotes {
  const noteKey = (place: string) => keys.key('start', place)
  const claimKey = (place: string) => keys.key('start', place, 'claim')

  return {
    async read (place) {
      const [[, phase], [, left]] = await redis.multi().get(noteKey(place)).pttl(noteKey(place)).exec() as
        [[unknown, StartPhase | null], [unknown, number]]
      return phase === null || left <= 0 ? null : { phase, leftMs: left }
    },
    async write (place, phase, forMs) {
      await redis.set(noteKey(place), phase, 'PX', whole(forMs))
    },
    async connected (place, waitMs) {
      return await noteConnected(redis, [noteKey(place)], [whole(waitMs)]) === 1
    },
    async clear (place) {
      await redis.del(noteKey(place))
    },
    async claim (place, forMs) {
      return await redis.set(claimKey(place), '1', 'PX', whole(forMs), 'NX') === 'OK'
    }
  }
}

/** For a single process without Redis. */
export function createLocalStartNotes (): StartNotes {
  const notes = new Map<string, { readonly phase: StartPhase, readonly until: number }>()
  const claims = new Map<string, number>()

  function noteOf (place: string): StartNote | null {
    const note = notes.get(place)
    const leftMs = (note?.until ?? 0) - performance.now()
    return note === undefined || leftMs <= 0 ? null : { phase: note.phase, leftMs }
  }

  return {
    read: async place => noteOf(place),
    async write (place, phase, forMs) {
      notes.set(place, { phase, until: performance.now() + forMs })
    },
    async connected (place, waitMs) {
      if (noteOf(place)?.phase !== 'away') return false
      notes.set(place, { phase: 'starting', until: performance.now() + waitMs })
      return true
    },
    async clear (place) {
      notes.delete(place)
    },
    async claim (place, forMs) {
      if (performance.now() < (claims.get(place) ?? 0)) return false
      claims.set(place, performance.now() + forMs)
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
    async read (place) {
      const note = await both(async notes => await notes.read(place))
      if (note === null) await local.clear(place)
      else await local.write(place, note.phase, note.leftMs)
      return note
    },
    write: async (place, phase, forMs) => await both(async notes => { await notes.write(place, phase, forMs) }),
    connected: async (place, waitMs) => await both(async notes => await notes.connected(place, waitMs)),
    clear: async place => await both(async notes => { await notes.clear(place) }),
    claim: async (place, forMs) => await both(async notes => await notes.claim(place, forMs))
  }
}

function whole (milliseconds: number): number {
  return Math.max(1, Math.round(milliseconds))
}
