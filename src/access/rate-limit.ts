import type { Redis } from 'ioredis'
import { clockLua } from '../redis/clock.ts'
import type { Keys } from '../redis/keys.ts'

/** `status`: reading how jobs stand, so that waiting for a picture never uses up what is needed to ask for one. */
export type Bucket = 'requests' | 'status'

/** What one request found in its bucket. */
export interface Allowance {
  readonly allowed: boolean
  /** Requests a minute. */
  readonly limit: number
  readonly remaining: number
  /** Whole seconds until the bucket is full again. */
  readonly resetSeconds: number
  /** Whole seconds until the next request is allowed, at least 1; null when this one is. */
  readonly retryAfterSeconds: number | null
}

export interface RateLimiter {
  /** @param ratePerMinute what the key may do; it may also come all at once after a pause */
  readonly take: (keyId: string, bucket: Bucket, ratePerMinute: number) => Promise<Allowance>
}

/** How many times as often as other requests the standing of jobs may be read. */
const statusFactor = 10

/**
 * A bucket that holds a minute's requests and fills evenly. Unlike a fixed window it cannot be emptied twice
 * around a boundary. KEYS: bucket. ARGV: capacity, moment in ms or '' for now. Answers allowed and the tokens left, as
 * text.
 */
const takeToken = clockLua + /* lua */ `
local capacity, moment = tonumber(ARGV[1]), tonumber(ARGV[2]) or milliseconds()
local known = redis.call('HMGET', KEYS[1], 'tokens', 'moment')
local tokens, before = tonumber(known[1] or capacity), tonumber(known[2] or moment)
-- After the clock went back the bucket fills on; never from further in the future than a full one takes.
moment = before - moment > 60000 and moment or math.max(moment, before)
before = math.min(moment, before)
tokens = math.min(capacity, tokens + (moment - before) * capacity / 60000)
-- Sums of fractions fall short of a whole by a hair, which must not cost a millisecond.
local allowed = tokens >= 1 - 1e-6
if allowed then tokens = math.max(0, tokens - 1) end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'moment', string.format('%.0f', moment))
redis.call('PEXPIRE', KEYS[1], 61000)
return { allowed and 1 or 0, string.format('%.9f', tokens) }
`

export function createRateLimiter (
  { redis, keys, now }: { redis: Redis, keys: Keys, now?: () => number }
): RateLimiter {
  return {
    async take (keyId, bucket, ratePerMinute) {
      const limit = bucket === 'status' ? ratePerMinute * statusFactor : ratePerMinute
      const [allowed, text] = await redis.eval(
        takeToken, 1, keys.key('rate', bucket, keyId), limit, now?.() ?? '') as [number, string]
      const tokens = Number(text)
      const secondsPerToken = 60 / limit
      return {
        allowed: allowed === 1,
        limit,
        remaining: Math.floor(tokens + 1e-6),
        resetSeconds: Math.ceil((limit - tokens) * secondsPerToken - 1e-6),
        retryAfterSeconds: allowed === 1 ? null : Math.max(1, Math.ceil((1 - tokens) * secondsPerToken - 1e-6))
      }
    }
  }
}

/**
 * What to tell the caller: the triple of the IETF's draft 6, which deployed clients read, and its X- forms.
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/06/
 */
export function rateLimitHeaders (allowance: Allowance): Record<string, string> {
  const { limit, remaining, resetSeconds, retryAfterSeconds } = allowance
  return {
    'RateLimit-Policy': `${limit};w=60`,
    'RateLimit-Limit': String(limit),
    'RateLimit-Remaining': String(remaining),
    'RateLimit-Reset': String(resetSeconds),
    'X-RateLimit-Limit': String(limit),
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset': String(resetSeconds),
    ...(retryAfterSeconds === null ? {} : { 'Retry-After': String(retryAfterSeconds) })
  }
}
