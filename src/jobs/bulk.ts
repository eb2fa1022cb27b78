import { createHash, randomBytes, randomInt } from 'node:crypto'
import type { Redis } from 'ioredis'
import { readValue, type FieldRule } from '../a1111/field-values.ts'
import { drawSeed, largestSeed, leavesRoom, seedAfter, type Seed } from '../a1111/seeds.ts'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'
import type { Job } from './job.ts'
import type { JobStore } from './store.ts'
import type { Accepted, SubmissionRequest, Submitter } from './submit.ts'

const baseSeedRule: FieldRule = { kind: 'seed', minimum: -1, maximum: largestSeed }

export type SeedVariation = 'random' | 'incremental'

export interface BulkOrder {
  readonly quantity: number
  readonly seedVariation: SeedVariation
  /** First seed of an incremental bulk as the client wrote it; -1 takes that of the parameters. */
  readonly baseSeed: unknown
}

export interface Bulks {
  /**
   * Puts all jobs of a bulk in line. Doing it again with the same id makes those that are missing and answers with
   * all of them, so a repeat after a crash goes on where the first try ended.
   * @throws ServiceError as `Submitter.check`, and `invalid_field_value` for a base seed that leaves no room
   */
  submit (id: string, request: Omit<SubmissionRequest, 'bulkId'>, order: BulkOrder): Promise<Accepted[]>
  /** The jobs of a bulk in their order. @throws ServiceError `bulk_not_found` */
  jobs (id: string): Promise<Job[]>
}

/** Unguessable, because the ids of its jobs follow from it. */
export const newBulkId = (): string => `bulk_${randomBytes(16).toString('hex')}`

export function createBulks (redis: Redis, keys: Keys, store: JobStore, submitter: Submitter): Bulks {
  const jobsKey = (id: string) => keys.key('bulk', id, 'jobs')
  return {
    async submit (id, request, { quantity, seedVariation, baseSeed }) {
      const given = readValue('base_seed', baseSeed, baseSeedRule) as Seed
      const checked = await submitter.check({ ...request, bulkId: id }, quantity)
      const base = given === -1 ? checked.normalised.parameters.seed ?? 0 : given
      refuseOverflow(base, quantity)
      const random = () => drawSeed(below => randomInt(below))
      const incremental = seedVariation === 'incremental'
      const first = await submitter.accept(checked, jobIdOf(id, 0), incremental ? base : random())
      const accepted = [first]
      // The first job's record decides: a repeat draws another base.
      const begin = first.seed ?? base
      for (let index = 1; index < quantity; index++) {
        const seed = incremental ? seedAfter(begin, index) : random()
        accepted.push(await submitter.accept(checked, jobIdOf(id, index), seed))
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

function refuseOverflow (base: Seed, quantity: number): void {
  if (leavesRoom(base, quantity)) return
  const highest = seedAfter(largestSeed, 1 - quantity)
  throw new ServiceError('invalid_field_value',
    `base_seed must be at most ${highest}, so that ${quantity} seeds can follow each other.`, { field: 'base_seed' })
}

/** A UUID of version 4 in form, the same for the same place in the same bulk. */
function jobIdOf (bulkId: string, index: number): string {
  const bytes = createHash('sha256').update(`${bulkId}:${index}`).digest().subarray(0, 16)
  bytes[6] = (bytes[6] ?? 0) & 0x0f | 0x40
  bytes[8] = (bytes[8] ?? 0) & 0x3f | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
