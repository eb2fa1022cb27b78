import type { Redis } from 'ioredis'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Keys } from '../redis/keys.ts'
import { userKey, type StudioUser } from './owner.ts'

/** The jobs of each user, newest first. */
export interface History {
  /** Before the job is made: one that is listed and never made is passed over, one that is not listed is lost. */
  add (user: StudioUser, jobId: string): Promise<void>
  has (user: StudioUser, jobId: string): Promise<boolean>
  page (user: StudioUser, offset: number, limit: number): Promise<{ readonly jobs: Job[], readonly total: number }>
}

/** A job that is listed is made within this time, or never, in milliseconds. */
const madeWithin = 60_000

export function createHistory (redis: Redis, keys: Keys, store: Pick<JobStore, 'readMany'>): History {
  const keyOf = (user: StudioUser) => userKey(keys, user, 'jobs')
  return {
    async add (user, jobId) {
      await redis.zadd(keyOf(user), Date.now(), jobId)
    },
    has: async (user, jobId) => await redis.zscore(keyOf(user), jobId) !== null,
    async page (user, offset, limit) {
      const reply = await redis.zrevrange(keyOf(user), offset, offset + limit - 1, 'WITHSCORES')
      const listed = reply.flatMap((id, index) => index % 2 === 0 ? [{ id, at: Number(reply[index + 1]) }] : [])
      const jobs = await store.readMany(listed.map(({ id }) => id))
      const known = new Set(jobs.map(({ id }) => id))
      const gone = listed.filter(({ id, at }) => !known.has(id) && at < Date.now() - madeWithin).map(({ id }) => id)
      if (gone.length > 0) await redis.zrem(keyOf(user), ...gone)
      return { jobs, total: await redis.zcard(keyOf(user)) }
    }
  }
}
