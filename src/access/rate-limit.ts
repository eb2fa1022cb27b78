import { isIPv6 } from 'node:net'
import type { Redis } from 'ioredis'
import { groupsOf, unmapped } from '../lib/ip.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * `status`: reading the state of jobs, so that waiting for an image never uses up the requests for new ones.
 * `pages`: what the web UI reads in a session of the key, with many thumbnails at once.
 */
export type Bucket = 'requests' | 'status' | 'pages'

/** State of the bucket at one request. */
export interface Allowance {
  readonly bucket: Bucket
  readonly allowed: boolean
  /** Requests a minute. */
  readonly limit: number
  readonly remaining: number
  /** Whole seconds until the bucket is full again. */
  readonly resetSeconds: number
  /** Whole seconds until the next request is allowed, at least 1; null if this one is. */
  readonly retryAfterSeconds: number | null
}

export interface RateLimiter {
  /** @param ratePerMinute the key's rate; after a pause, all of it can come at once */
  readonly take: (keyId: string, bucket: Bucket, ratePerMinute: number) => Promise<Allowance>
  /** The state of the bucket, without a request. */
  readonly look: (keyId: string, bucket: Bucket, ratePerMinute: number) => Promise<Pick<Allowance, 'remaining' | 'resetSeconds'>>
}

/** How many requests a bucket allows for one of the key's rate. */
const factors: Readonly<Record<Bucket, number>> = { requests: 1, status: 10, pages: 60 }

const takeToken = loadScript<[bucket: string], [capacity: number, timestamp: number | ''], [allowed: 0 | 1, tokens: string]>(
  new URL('scripts/take-token.lua', import.meta.url))

export function createRateLimiter (
  { redis, keys, now }: { redis: Redis, keys: Keys, now?: () => number }
): RateLimiter {
  return {
    async take (keyId, bucket, ratePerMinute) {
      const limit = ratePerMinute * factors[bucket]
      const [allowed, text] = await takeToken(redis, [keys.key('rate', bucket, keyId)], [limit, now?.() ?? ''])
      const tokens = Number(text)
      const secondsPerToken = 60 / limit
      return {
        bucket,
        allowed: allowed === 1,
        limit,
        remaining: Math.floor(tokens + 1e-6),
        resetSeconds: Math.ceil((limit - tokens) * secondsPerToken - 1e-6),
        retryAfterSeconds: allowed === 1 ? null : Math.max(1, Math.ceil((1 - tokens) * secondsPerToken - 1e-6))
      }
    },
    async look (keyId, bucket, ratePerMinute) {
      const limit = ratePerMinute * factors[bucket]
      const [tokens, moment] = await redis.hmget(keys.key('rate', bucket, keyId), 'tokens', 'moment')
      const elapsed = Math.max(0, (now?.() ?? Date.now()) - Number(moment ?? 0))
      const present = Math.min(limit, Number(tokens ?? limit) + elapsed * limit / 60_000)
      return { remaining: Math.floor(present + 1e-6), resetSeconds: Math.ceil((limit - present) * 60 / limit - 1e-6) }
    }
  }
}

/**
 * Headers for the client: the two of the IETF's draft, the triple of its version 6, which deployed clients read, and
 * the X- forms of that.
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/10/
 */
export function rateLimitHeaders (allowance: Allowance): Record<string, string> {
  const { bucket, limit, remaining, resetSeconds, retryAfterSeconds } = allowance
  return {
    'RateLimit-Policy': `"${bucket}";q=${limit};w=60`,
    RateLimit: `"${bucket}";r=${remaining};t=${resetSeconds}`,
    'RateLimit-Limit': String(limit),
    'RateLimit-Remaining': String(remaining),
    'RateLimit-Reset': String(resetSeconds),
    'X-RateLimit-Limit': String(limit),
    'X-RateLimit-Remaining': String(remaining),
    'X-RateLimit-Reset': String(resetSeconds),
    ...(retryAfterSeconds === null ? {} : { 'Retry-After': String(retryAfterSeconds) })
  }
}

/**
 * Slows down clients that send wrong credentials, by address. It is asked only about wrong credentials: correct ones
 * are never refused for their address, or an attacker could lock out others from it.
 */
export interface FailedLogins {
  /** Counts one failure and answers for how many more seconds the address is refused; 0 if it is not. */
  readonly note: (address: string) => Promise<number>
}

const noteFailure = loadScript<[record: string], [timestamp: number | ''], number>(
  new URL('scripts/note-failure.lua', import.meta.url))

export function createFailedLogins (
  { redis, keys, now }: { redis: Redis, keys: Keys, now?: () => number }
): FailedLogins {
  return {
    async note (address) {
      const left = await noteFailure(redis, [keys.key('failed-logins', ipPrefix(address))], [now?.() ?? ''])
      return Math.ceil(left / 1000)
    }
  }
}

/** The address, or for IPv6 its /64: a client with one address there has all of them. */
export function ipPrefix (address: string): string {
  const plain = unmapped(address)
  if (!isIPv6(plain)) return plain
  return groupsOf(plain).slice(0, 4).map(group => group.toString(16)).join(':') + '::/64'
}
