import type { Redis } from 'ioredis'
import { clockLua } from '../redis/clock.ts'
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

// Redis's clock counts, as those of processes differ. KEYS: next free moment and when it was set.
const nextFree = clockLua + /* lua */ `
local now = milliseconds()
local known = redis.call('GET', KEYS[1]) or '0 0'
local free, setAt = string.match(known, '^(%d+) (%d+)$')
free, setAt = tonumber(free) or 0, tonumber(setAt) or 0
-- the clock went back since: it lasts no longer than it was to last
if setAt > now then free = now + math.max(0, free - setAt) end
local function keep (moment)
  redis.call('SET', KEYS[1], string.format('%.0f %.0f', moment, now), 'PX', math.ceil(moment - now) + 1000)
end
`

// ARGV: interval, patience.
const takeTurn = nextFree + /* lua */ `
local turn = math.max(now, free)
if turn - now > tonumber(ARGV[2]) then return false end
keep(turn + tonumber(ARGV[1]))
return turn - now
`

// ARGV: milliseconds.
const holdTurns = nextFree + /* lua */ `
keep(math.max(free, now + tonumber(ARGV[1])))
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
