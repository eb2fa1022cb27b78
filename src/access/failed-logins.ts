import { isIPv6 } from 'node:net'
import type { Redis } from 'ioredis'
import { clockLua } from '../redis/clock.ts'
import { groupsOf, unmapped } from '../lib/ip.ts'
import type { Keys } from '../redis/keys.ts'

/**
 * Slows down who sends wrong credentials, by address. It is asked only about credentials that were already found
 * wrong: right ones are never refused for their address, or knowing it would be enough to lock somebody out.
 */
export interface FailedLogins {
  /** Counts one failure and answers for how many more seconds the address is refused; 0 if it is not. */
  readonly note: (address: string) => Promise<number>
}

/**
 * Ten failures in five minutes refuse the address for a minute, ten more for two, up to a quarter of an hour.
 * KEYS: record. ARGV: moment in ms or '' for now. Answers the milliseconds left.
 */
const noteFailure = clockLua + /* lua */ `
local moment = tonumber(ARGV[1]) or milliseconds()
local known = redis.call('HMGET', KEYS[1], 'failures', 'since', 'level', 'until')
local failures, since = tonumber(known[1] or 0), tonumber(known[2] or moment)
local level, till = tonumber(known[3] or 0), tonumber(known[4] or 0)
local refusal = math.min(900000, 60000 * 2 ^ (level - 1))
if till - moment > refusal then
  -- the clock went back
  till = moment + refusal
  redis.call('HSET', KEYS[1], 'until', string.format('%.0f', till), 'since', string.format('%.0f', till))
end
if moment < till then return till - moment end
since = math.min(since, moment)
if moment - since >= 300000 then failures = 0; since = moment end
failures = failures + 1
if failures > 10 then
  level = level + 1
  till = moment + math.min(900000, 60000 * 2 ^ (level - 1))
  failures = 0
  since = till
end
redis.call('HSET', KEYS[1], 'failures', failures, 'since', string.format('%.0f', since),
  'level', level, 'until', string.format('%.0f', till))
redis.call('PEXPIRE', KEYS[1], 3600000)
return math.max(0, till - moment)
`

export function createFailedLogins (
  { redis, keys, now }: { redis: Redis, keys: Keys, now?: () => number }
): FailedLogins {
  return {
    async note (address) {
      const left = await redis.eval(noteFailure, 1, keys.key('failed-logins', neighbourhood(address)),
        now?.() ?? '')
      return Math.ceil(Number(left) / 1000)
    }
  }
}

/** The address, or for IPv6 its /64: whoever has one address there has them all. */
export function neighbourhood (address: string): string {
  const plain = unmapped(address)
  if (!isIPv6(plain)) return plain
  return groupsOf(plain).slice(0, 4).map(group => group.toString(16)).join(':') + '::/64'
}
