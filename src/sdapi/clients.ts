import { randomInt } from 'node:crypto'
import type { Redis } from 'ioredis'
import { hasEnded } from '../../schemas/job.ts'
import type { Principal } from '../access/principal.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Keys } from '../lib/keys.ts'

/** The drop-in's identity of a client, where A1111 knows only one user: the access key, else the address. */
export function clientOf ({ kind, keyId }: Pick<Principal, 'kind' | 'keyId'>, ip: string): string {
  return keyId === null ? `${kind}@${ip}` : `key:${keyId}`
}

/** The unfinished jobs of each client: the subjects of progress, interrupt and skip. */
export interface ClientJobs {
  add (client: string, jobId: string): Promise<void>
  /** Running jobs before waiting ones, each oldest first. */
  active (client: string): Promise<Job[]>
  /** Records that the client interrupts its own job. */
  interrupt (jobId: string): Promise<void>
  wasInterrupted (jobId: string): Promise<boolean>
}

/** An unread list is deleted after this, in seconds: no job lives longer unseen. */
const lifetime = 7 * 86_400

export function createClientJobs (redis: Redis, keys: Keys, store: Pick<JobStore, 'readMany'>): ClientJobs {
  const listKey = (client: string) => keys.key('drop-in', 'jobs', client)
  const interruptKey = (jobId: string) => keys.key('drop-in', 'interrupted', jobId)
  return {
    async add (client, jobId) {
      await redis.multi().zadd(listKey(client), Date.now(), jobId).expire(listKey(client), lifetime).exec()
    },
    async active (client) {
      const ids = await redis.zrange(listKey(client), '0', '-1')
      const jobs = (await store.readMany(ids)).filter(({ status }) => !hasEnded(status))
      const gone = ids.filter(id => !jobs.some(job => job.id === id))
      if (gone.length > 0) await redis.zrem(listKey(client), ...gone)
      const running = jobs.filter(({ status }) => status === 'processing')
      return [...running, ...jobs.filter(({ status }) => status === 'pending')]
    },
    async interrupt (jobId) { await redis.set(interruptKey(jobId), 1, 'EX', lifetime) },
    wasInterrupted: async jobId => await redis.exists(interruptKey(jobId)) === 1
  }
}

/** Job ids of 8 characters, as clients of the Job Tracker know them. */
export interface ShortIds {
  /** A new one for the job, never given before. */
  claim (jobId: string): Promise<string>
  /** The job's own id, from either of its ids. */
  resolve (id: string): Promise<string>
}

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
const grammar = /^[A-Za-z0-9]{8}$/

/** The entry of a deleted job stays, so that its id is never given again. */
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
