import { randomInt } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'

/** Job ids of 8 characters, as clients of the Job Tracker know them. */
export interface ShortIds {
  /** A new one for the job, never given before. */
  claim (jobId: string): Promise<string>
  /** The job's own id, from either of its ids. */
  resolve (id: string): Promise<string>
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const grammar = /^[A-Za-z0-9]{8}$/

/** The entry of a job that is gone stays, so that its id is never given again. */
export function createShortIds (redis: Redis, keys: Keys): ShortIds {
  const idsKey = keys.key('drop-in', 'short-ids')
  return {
    async claim (jobId) {
      for (;;) {
        const id = Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]).join('')
        if (await redis.hsetnx(idsKey, id, jobId) === 1) return id
      }
    },
    async resolve (id) {
      return grammar.test(id) ? await redis.hget(idsKey, id) ?? id : id
    }
  }
}
