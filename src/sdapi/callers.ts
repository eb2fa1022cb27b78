import type { Redis } from 'ioredis'
import type { Principal } from '../access/principal.ts'
import { hasEnded } from '../../schemas/job-status.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Keys } from '../redis/keys.ts'

/**
 * Who a client is to the drop-in, where A1111 knows only one user. Access keys are told apart; who needs none, by
 * address.
 */
export function callerOf ({ kind, keyId }: Pick<Principal, 'kind' | 'keyId'>, ip: string): string {
  return keyId === null ? `${kind}@${ip}` : `key:${keyId}`
}

/** The jobs of each caller that have not ended: what progress, interrupt and skip are about. */
export interface CallerJobs {
  add (caller: string, jobId: string): Promise<void>
  /** Those that run before those that wait, each oldest first. */
  active (caller: string): Promise<Job[]>
  /** Notes that the caller interrupts its own job. */
  interrupt (jobId: string): Promise<void>
  wasInterrupted (jobId: string): Promise<boolean>
}

/** A list nobody asks for is forgotten after this, in seconds: no job lives longer unseen. */
const lifetime = 7 * 86_400

export function createCallerJobs (redis: Redis, keys: Keys, store: Pick<JobStore, 'readMany'>): CallerJobs {
  const listKey = (caller: string) => keys.key('drop-in', 'jobs', caller)
  const interruptKey = (jobId: string) => keys.key('drop-in', 'interrupted', jobId)
  return {
    async add (caller, jobId) {
      await redis.multi().zadd(listKey(caller), Date.now(), jobId).expire(listKey(caller), lifetime).exec()
    },
    async active (caller) {
      const ids = await redis.zrange(listKey(caller), '0', '-1')
      const jobs = (await store.readMany(ids)).filter(({ status }) => !hasEnded(status))
      const gone = ids.filter(id => !jobs.some(job => job.id === id))
      if (gone.length > 0) await redis.zrem(listKey(caller), ...gone)
      const running = jobs.filter(({ status }) => status === 'processing')
      return [...running, ...jobs.filter(({ status }) => status === 'pending')]
    },
    async interrupt (jobId) { await redis.set(interruptKey(jobId), 1, 'EX', lifetime) },
    wasInterrupted: async jobId => await redis.exists(interruptKey(jobId)) === 1
  }
}
