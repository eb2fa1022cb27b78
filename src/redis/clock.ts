import type { Redis } from 'ioredis'

/** The clock of Redis, without asking it each time. */
export interface RedisClock {
  /** Milliseconds since the epoch. */
  now (): Promise<number>
  /** It was found to be wrong: it is asked again. */
  forget (): void
}

/** Asked again after this, since clocks drift and are set, in milliseconds. */
const trustedFor = 60_000

export function createRedisClock (redis: Redis): RedisClock {
  let ahead: number | null = null
  let askedAt = 0
  return {
    async now () {
      if (ahead === null || performance.now() - askedAt > trustedFor) {
        const before = performance.now()
        const [seconds, microseconds] = await redis.time()
        askedAt = performance.now()
        // Half of the round trip is the answer's; our own wall clock, which can be set at any time, is left out.
        ahead = Number(seconds) * 1000 + Number(microseconds) / 1000 - (before + askedAt) / 2
      }
      return performance.now() + ahead
    },
    forget () { ahead = null }
  }
}
