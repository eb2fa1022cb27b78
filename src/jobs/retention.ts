import type { Redis } from 'ioredis'
import { endStatuses, hasEnded } from '../../schemas/job.ts'
import { ignoring, refuseMore } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { storageFaultOf } from '../media/storage-fault.ts'
import type { MediaStore } from '../media/store.ts'
import type { Job } from './job.ts'
import type { JobList } from './list.ts'
import type { JobStore } from './store.ts'
import type { InputImages } from './input-images.ts'

/**
 * Deletes a finished job with all its files: record first, so that nothing refers to a missing file.
 * @throws ServiceError `job_not_found`, or `job_operation_invalid` while the job is active
 */
export async function removeJob (
  id: string, { store, media, inputs }: { store: JobStore, media: MediaStore, inputs: InputImages }
): Promise<void> {
  const job = await store.remove(id)
  const images = job.result?.images ?? []
  const removed = await Promise.allSettled([
    ...images.map(async ({ name }) => { await media.removeOutput(name) }), inputs.release(job.submission.parameters)
  ])
  for (const outcome of removed) if (outcome.status === 'rejected') leaveToSweep(outcome.reason)
}

/** Files that cannot be removed now belong to no record any more: the sweep removes them. @throws other errors */
export function leaveToSweep (error: unknown): void {
  if (storageFaultOf(error) === null) throw error
}

/** Which finished jobs to delete. A rule of 0 deletes none. */
export interface RetentionRules {
  /** Those that finished longer ago than this, in days. */
  readonly days: number
  /** All but this many of the newest. */
  readonly jobs: number
  /** Those of /sdapi/v1 that finished longer ago than this, in days. */
  readonly dropInDays: number
}

/** Jobs that are due to be removed, or were. */
export interface Removal {
  readonly jobs: number
  readonly images: number
  /** Size of the images. */
  readonly bytes: number
  /** When the first of them was accepted, in milliseconds since the epoch. */
  readonly oldest: number | null
}

export interface Purge extends Removal {
  /** Whether more jobs are due than one call removes. */
  readonly more: boolean
}

export interface PurgeLimits {
  /** The most jobs that one call removes. */
  readonly most?: number
  /** The most jobs that the client expects to be due. */
  readonly expected?: number
  /** Only jobs that were accepted before this time, in milliseconds since the epoch. */
  readonly before?: number
}

export interface PastPurge extends Removal {
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Removes finished jobs with all their files, once they are old enough or too many. */
export interface Retention {
  /** The jobs that these rules, or the current ones, would remove. */
  due (rules?: RetentionRules): Promise<Removal>
  /**
   * Removes them, oldest first.
   * @throws ServiceError `more_than_expected`, before anything is removed
   */
  purge (rules?: RetentionRules, limits?: PurgeLimits): Promise<Purge>
  /** The last purge that removed something. */
  last (): Promise<PastPurge | null>
}

export interface RetentionDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly store: JobStore
  readonly list: JobList
  readonly media: MediaStore
  readonly inputs: InputImages
  readonly log: Log
  /** The current rules. */
  readonly rules: () => Promise<RetentionRules>
}

/** How often to look for old jobs, in milliseconds. */
export const purgeInterval = 6 * 3_600_000
const dayMs = 86_400_000
const pageSize = 200
const nothing: Removal = { jobs: 0, images: 0, bytes: 0, oldest: null }

export function createRetention (dependencies: RetentionDependencies): Retention {
  const { redis, keys, store, list, media, inputs, log } = dependencies
  const lastKey = keys.key('last-purge')

  /** Jobs that the rules remove, oldest first; they can be deleted during the iteration. */
  async function * overdue ({ days, jobs, dropInDays }: RetentionRules): AsyncGenerator<Job> {
    const before = (count: number) => count === 0 ? -Infinity : Date.now() - count * dayMs
    const limits = { all: before(days), dropIn: before(dropInDays) }
    const ended = await Promise.all(endStatuses.map(async status => await list.count({ status })))
    let excess = jobs === 0 ? 0 : ended.reduce((sum, count) => sum + count, 0) - jobs
    const applies = excess > 0 || limits.all > 0 || limits.dropIn > 0
    let cursor: string | null | undefined = applies ? undefined : null
    while (cursor !== null) {
      const page = await list.page({
        order: 'oldest', limit: pageSize, offset: 0, ...(cursor === undefined ? {} : { cursor })
      })
      for (const job of page.jobs.filter(({ status }) => hasEnded(status))) {
        const endedAt = job.endedAt ?? job.updatedAt
        const isOld = endedAt < limits.all || (job.submission.dropIn !== undefined && endedAt < limits.dropIn)
        if (excess-- > 0 || isOld) yield job
      }
      const isRecent = (page.jobs.at(-1)?.createdAt ?? 0) >= Math.max(limits.all, limits.dropIn)
      cursor = isRecent && excess <= 0 ? null : page.nextCursor
    }
  }

  return {
    async due (rules) {
      let due = nothing
      for await (const job of overdue(rules ?? await dependencies.rules())) due = withJob(due, job)
      return due
    },
    async purge (given, { most = Infinity, expected = Infinity, before = Infinity } = {}) {
      const rules = given ?? await dependencies.rules()
      if (expected !== Infinity) {
        let count = 0
        for await (const job of overdue(rules)) if (job.createdAt < before) count++
        refuseMore(count, expected)
      }
      let removed = nothing
      let more = false
      for await (const job of overdue(rules)) {
        if (job.createdAt >= before) continue
        more = removed.jobs >= most
        if (more) break
        // Another process purges too, and a client can retry a failed job just now.
        const isRemoved = await removeJob(job.id, { store, media, inputs })
          .then(() => true, ignoring('job_not_found', 'job_operation_invalid'))
        if (isRemoved) removed = withJob(removed, job)
      }
      if (removed.jobs > 0) {
        const past: PastPurge = { ...removed, at: Date.now() }
        await redis.set(lastKey, JSON.stringify(past))
        log.info({ ...removed }, 'old jobs were removed')
      }
      return { ...removed, more }
    },
    async last () {
      const text = await redis.get(lastKey)
      return text === null ? null : JSON.parse(text) as PastPurge
    }
  }
}

function withJob ({ jobs, images, bytes, oldest }: Removal, job: Job): Removal {
  const found = job.result?.images ?? []
  return {
    jobs: jobs + 1,
    images: images + found.length,
    bytes: found.reduce((sum, image) => sum + image.bytes, bytes),
    oldest: oldest ?? job.createdAt
  }
}
