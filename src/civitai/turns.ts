import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** Lets the requests of all processes go one after another. */
export interface Turns {
  /**
   * Takes the next free turn.
   * @returns milliseconds until it comes; null when the line is longer than `patienceMs`, and then nothing was taken
   */
  take (patienceMs: number): Promise<number | null>
  /** No turn comes before this many milliseconds are over. */
  hold (milliseconds: number): Promise<void>
}

const takeTurn = loadScript<[nextTurn: string], [intervalMs: number, patienceMs: number], number | null>(
  new URL('scripts/take-turn.lua', import.meta.url))
const holdTurns = loadScript<[nextTurn: string], [milliseconds: number], 1>(
  new URL('scripts/hold-turns.lua', import.meta.url))

/** @param intervalMs between two requests of all processes */
export function createTurns (redis: Redis, keys: Keys, intervalMs: number): Turns {
  const nextTurn: [string] = [keys.key('civitai', 'next-turn')]
  return {
    take: async patienceMs => await takeTurn(redis, nextTurn, [intervalMs, patienceMs]),
    async hold (milliseconds) { await holdTurns(redis, nextTurn, [Math.ceil(milliseconds)]) }
  }
}
