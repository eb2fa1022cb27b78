import { createHash, randomBytes, randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { JobStatus } from '../../schemas/job.ts'
import { type FieldRule, readValue } from '../a1111/field-values.ts'
import { ignoring, refuseMore, ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { randomSeed, largestSeed, leavesRoom, type Seed, seedAfter } from '../lib/seeds.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import { iso } from '../lib/text.ts'
import type { FreshLists } from '../servers/fresh-lists.ts'
import type { Server } from '../servers/registry.ts'
import type { Job } from './job.ts'
import { groupKey, type JobFilter, type JobList } from './list.ts'
import { compatibilityRequestOf } from './prepare-generation.ts'
import type { AheadOf, JobStore } from './store.ts'
import type { Accepted, SubmissionRequest, Submitter } from './submit.ts'

/** Actions on many jobs at once. */
export type ManyAction = 'cancel' | 'retry' | 'run-now' | 'move' | 'delete' | 'background' | 'foreground'

/** The action; for a move the new server, null for any; for run-now whose jobs are overtaken. */
export type ManyOrder =
  | { readonly action: Exclude<ManyAction, 'move' | 'run-now'> }
  | { readonly action: 'run-now', readonly ahead: AheadOf }
  | { readonly action: 'move', readonly server: Server | null }

/** Moves of waiting jobs to servers that can run them. */
export interface JobMoves {
  /** @throws ServiceError `job_not_found`; a 422 about `server` with the nearest names if the server lacks something */
  check (id: string, server: Server): Promise<void>
  /** Null lets any server run it. @throws ServiceError as `check`, or `job_operation_invalid` unless the job waits */
  move (id: string, server: Server | null): Promise<void>
}

export function createJobMoves (
  store: Pick<JobStore, 'get' | 'move'>, lists: Pick<FreshLists, 'checkCompatibility'>
): JobMoves {
  async function check (id: string, server: Server): Promise<void> {
    const { target, submission } = await store.get(id)
    if (target === server.id) return
    try {
      // A server that was never reached is checked when the job is sent.
      await lists.checkCompatibility(server, compatibilityRequestOf(submission), submission.onMissing)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const { code, message, details } = error
      throw new ServiceError(code, `${server.alias} cannot run the job: ${message}`,
        { ...details, field: 'server', parameter: details.field, job_id: id }, { cause: error })
    }
  }

  return {
    check,
    async move (id, server) {
      if (server !== null && (await store.get(id)).status === 'pending') await check(id, server)
      await store.move(id, server?.id ?? '')
    }
  }
}

/** What the client knows of the jobs, so that the action affects no others. */
export interface ManyLimits {
  /** The most jobs that the client expects. */
  readonly expected?: number
  /** Only jobs that arrived before this time, in milliseconds since the epoch. */
  readonly before?: number
}

/** The jobs, by ids or by a filter. */
export type ManyChoice = { readonly ids: readonly string[] } | { readonly filter: JobFilter }

export interface ManyCount {
  /** Number of jobs. */
  readonly count: number
  /** All of them arrived before this time, in milliseconds since the epoch. */
  readonly before: number
}

export interface ManyOutcome extends ManyCount {
  /** Ids of the jobs with which it was done. */
  readonly done: readonly string[]
  readonly refused: ReadonlyArray<{ readonly id: string, readonly error: ServiceError }>
}

/**
 * Whether the client has access to a job of this owner; other jobs count as not found. Filters must be narrowed to such
 * jobs beforehand.
 */
export type MayAct = (owner: string | null) => boolean

export interface ManyJobs {
  /**
   * Applies the action to each job; a failure of one does not affect the others.
   * @throws ServiceError `more_than_expected`, before anything is done
   */
  act (order: ManyOrder, choice: ManyChoice, limits: ManyLimits, mayAct: MayAct): Promise<ManyOutcome>
  /** How many jobs would be affected; exact, since no more jobs can arrive before the time that it returns. */
  count (choice: ManyChoice, limits: Pick<ManyLimits, 'before'>, mayAct: MayAct): Promise<ManyCount>
}

const actAtOnce = 8
const readAtOnce = 500
/** Wait until the millisecond of a timestamp is over. */
const timestampMs = 2

export interface ManyJobsDependencies {
  readonly store: JobStore
  readonly list: JobList
  readonly moves: JobMoves
  /** Deletes a finished job with its files. */
  readonly remove: (jobId: string) => Promise<void>
}

export function createManyJobs ({ store, list, moves, remove }: ManyJobsDependencies): ManyJobs {
  const acts: Readonly<Record<Exclude<ManyAction, 'move' | 'run-now'>, (id: string) => Promise<unknown>>> = {
    cancel: store.cancel,
    retry: store.retry,
    background: async id => { await store.setBackground(id, true) },
    foreground: async id => { await store.setBackground(id, false) },
    async delete (id) {
      if ((await store.get(id)).status === 'pending') await store.cancel(id).catch(ignoring('job_operation_invalid'))
      await remove(id)
    }
  }

  /** The time that bounds a choice: now, unless an earlier one is given, since later jobs are unknown. */
  async function boundOf (choice: ManyChoice, before = Infinity): Promise<{ before: number, isNow: boolean }> {
    const timestamp = await list.now()
    const given = Math.min(before, 'filter' in choice ? choice.filter.before ?? Infinity : Infinity)
    return { before: Math.min(timestamp, given), isNow: timestamp <= given }
  }

  /** Ids of the chosen jobs to which the action applies, and the reasons why the other named jobs are left alone. */
  async function chosen (choice: ManyChoice, before: number, mayAct: MayAct) {
    if ('filter' in choice) return { ids: await list.ids({ ...choice.filter, before }), others: [] }
    const given = [...new Set(choice.ids)]
    const found = new Set<string>()
    const newer = new Set<string>()
    for (let from = 0; from < given.length; from += readAtOnce) {
      for (const { id, keyId, createdAt } of await store.readMany(given.slice(from, from + readAtOnce))) {
        if (mayAct(keyId)) (createdAt < before ? found : newer).add(id)
      }
    }
    const others = given.filter(id => !found.has(id))
      .map(id => ({ id, error: newer.has(id) ? tooNew(id, before) : noSuchJob(id) }))
    return { ids: given.filter(id => found.has(id)), others }
  }

  function applierOf (order: ManyOrder): (id: string) => Promise<unknown> {
    if (order.action === 'move') return async id => { await moves.move(id, order.server) }
    if (order.action === 'run-now') return async id => { await store.runNow(id, order.ahead) }
    return acts[order.action]
  }

  return {
    async act (order, choice, limits, mayAct) {
      const apply = applierOf(order)
      const { before } = await boundOf(choice, limits.before)
      const { ids, others: refused } = await chosen(choice, before, mayAct)
      refuseMore(ids.length, limits.expected, { created_before: iso(before) })
      const acting = createSemaphore(actAtOnce)
      const done: string[] = []

      async function actOn (id: string): Promise<void> {
        try {
          await apply(id)
          done.push(id)
        } catch (error) {
          if (!(error instanceof ServiceError)) throw error
          refused.push({ id, error })
        }
      }

      // Each goes ahead of all others, so the last one is moved first, and they keep their order.
      if (order.action === 'run-now') for (const id of ids.reverse()) await actOn(id)
      else await Promise.all(ids.map(async id => { await acting.run(async () => { await actOn(id) }) }))
      return { count: ids.length, before, done, refused }
    },
    async count (choice, limits, mayAct) {
      const { before, isNow } = await boundOf(choice, limits.before)
      if (isNow) await sleep(timestampMs)
      const { ids } = await chosen(choice, before, mayAct)
      return { count: ids.length, before }
    }
  }
}

function noSuchJob (id: string): ServiceError {
  return new ServiceError('job_not_found', `There is no job ${id}.`, { job_id: id })
}

function tooNew (id: string, before: number): ServiceError {
  return new ServiceError('job_operation_invalid',
    `Job ${id} was not accepted before ${iso(before)}, so it was left alone.`, { job_id: id })
}

const baseSeedRule: FieldRule = { kind: 'seed', minimum: -1, maximum: largestSeed }

export type SeedVariation = 'random' | 'incremental'

export interface BulkOrder {
  readonly quantity: number
  readonly seedVariation: SeedVariation
  /** First seed of an incremental bulk as the client wrote it; -1 takes the seed of the parameters. */
  readonly baseSeed: unknown
}

export type GroupCounts = Record<JobStatus | 'total', number>

export interface Bulks {
  /**
   * Queues all jobs of a bulk. A repetition with the same id creates the missing jobs and returns all of them, so a
   * repetition after a crash continues where the first try stopped.
   * @throws ServiceError as `Submitter.check`, and `invalid_field_value` for a base seed that is too large for the
   * number of jobs
   */
  submit (id: string, request: Omit<SubmissionRequest, 'bulkId'>, order: BulkOrder): Promise<Accepted[]>
  /** How many jobs of a bulk or group are in each state. All of them have the same owner. */
  counts (id: string): Promise<GroupCounts>
  /** The jobs of a bulk in their order. @throws ServiceError `bulk_not_found` */
  jobs (id: string): Promise<Job[]>
}

/** Unguessable, because the ids of its jobs follow from it. */
export const newBulkId = (): string => `bulk_${randomBytes(16).toString('hex')}`

export function createBulks (
  redis: Redis, keys: Keys, store: JobStore, list: Pick<JobList, 'stamps'>, submitter: Submitter
): Bulks {
  return {
    async submit (id, request, { quantity, seedVariation, baseSeed }) {
      const given = readValue('base_seed', baseSeed, baseSeedRule) as Seed
      const checked = await submitter.check({ ...request, bulkId: id }, quantity)
      const base = given === -1 ? checked.normalised.parameters.seed ?? 0 : given
      refuseOverflow(base, quantity)
      const random = () => randomSeed(below => randomInt(below))
      const incremental = seedVariation === 'incremental'
      const first = await submitter.accept(checked, jobIdOf(id, 0), incremental ? base : random())
      const accepted = [first]
      // The first job's record decides: a repetition would choose another random base.
      const begin = first.seed ?? base
      for (let index = 1; index < quantity; index++) {
        const seed = incremental ? seedAfter(begin, index) : random()
        accepted.push(await submitter.accept(checked, jobIdOf(id, index), seed))
      }
      return accepted
    },
    async counts (id) {
      const counts = { total: 0, pending: 0, processing: 0, completed: 0, failed: 0, cancelled: 0 }
      for (const { status } of await list.stamps(await redis.zrange(groupKey(keys, id), '0', '-1'))) {
        if (status === null) continue
        counts.total++
        counts[status]++
      }
      return counts
    },
    async jobs (id) {
      const ids = await redis.zrange(groupKey(keys, id), '0', '-1')
      if (ids.length === 0) throw new ServiceError('bulk_not_found', `There is no bulk ${id}.`)
      return await store.readMany(ids)
    }
  }
}

function refuseOverflow (base: Seed, quantity: number): void {
  if (leavesRoom(base, quantity)) return
  const highest = seedAfter(largestSeed, 1 - quantity)
  throw new ServiceError('invalid_field_value',
    name => `${name} must be at most ${highest}, so that ${quantity} seeds can follow each other.`, { field: 'base_seed' })
}

/** A UUID in the form of version 4, the same for the same index in the same bulk. */
function jobIdOf (bulkId: string, index: number): string {
  const bytes = createHash('sha256').update(`${bulkId}:${index}`).digest().subarray(0, 16)
  bytes[6] = (bytes[6] ?? 0) & 0x0f | 0x40
  bytes[8] = (bytes[8] ?? 0) & 0x3f | 0x80
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
