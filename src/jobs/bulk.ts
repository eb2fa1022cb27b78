import { randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import type { Job } from './job.ts'
import type { JobStore } from './store.ts'
import { newJobId, type Accepted, type SubmissionRequest, type Submitter } from './submit.ts'

export type SeedVariation = 'random' | 'incremental'

/** Seeds that A1111 draws itself are below this. */
const seedLimit = 4_294_967_294

export interface BulkOrder {
  readonly quantity: number
  readonly seedVariation: SeedVariation
  /** First seed of an incremental bulk; -1 draws one. */
  readonly baseSeed: number
}

export interface Bulks {
  submit (id: string, request: Omit<SubmissionRequest, 'bulkId'>, order: BulkOrder): Promise<Accepted[]>
  /** The jobs of a bulk in their order. @throws ServiceError `bulk_not_found` */
  jobs (id: string): Promise<Job[]>
}

export const newBulkId = (): string => `bulk_${randomBytes(4).toString('hex')}`

export function createBulks (redis: Redis, keys: Keys, store: JobStore, submitter: Submitter): Bulks {
  const jobsKey = (id: string) => keys.key('bulk', id, 'jobs')
  return {
    async submit (id, request, { quantity, seedVariation, baseSeed }) {
      const checked = await submitter.check({ ...request, bulkId: id })
      const first = baseSeed >= 0 ? baseSeed : Number(checked.normalised.parameters.seed)
      const accepted: Accepted[] = []
      // A repeat after a crash goes on where the first try ended.
      const begun = await redis.zcard(jobsKey(id))
      for (let index = begun; index < quantity; index++) {
        const seed = seedVariation === 'incremental' ? first + index : Math.floor(Math.random() * seedLimit)
        accepted.push(await submitter.accept(checked, newJobId(), seed))
      }
      return accepted
    },
    async jobs (id) {
      const ids = await redis.zrange(jobsKey(id), '0', '-1')
      if (ids.length === 0) throw new ServiceError('bulk_not_found', `There is no bulk ${id}.`)
      return await store.readMany(ids)
    }
  }
}
