import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'

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

// Redis's clock counts, as those of processes differ. KEYS: next free moment. ARGV: interval, patience.
const takeTurn = /* lua */ `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or '0'))
if turn - now > tonumber(ARGV[2]) then return false end
redis.call('SET', KEYS[1], turn + tonumber(ARGV[1]), 'PX', turn - now + tonumber(ARGV[1]) + 1000)
return turn - now
`

// ARGV: milliseconds.
const holdTurns = /* lua */ `
local time = redis.call('TIME')
local until_moment = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[1])
if tonumber(redis.call('GET', KEYS[1]) or '0') < until_moment then
  redis.call('SET', KEYS[1], until_moment, 'PX', tonumber(ARGV[1]) + 1000)
end
return 1
`

/** @param intervalMs between two requests of all processes */
export function createTurns (redis: Redis, keys: Keys, intervalMs: number): Turns {
  const key = keys.key('civitai', 'next-turn')
  return {
    take: async patienceMs => await redis.eval(takeTurn, 1, key, intervalMs, patienceMs) as number | null,
    async hold (milliseconds) { await redis.eval(holdTurns, 1, key, Math.ceil(milliseconds)) }
  }
}
