import type { Redis } from 'ioredis'
import { endStatuses, hasEnded } from '../../schemas/job.ts'
import { ignoring, refuseMore } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import type { MediaStore } from '../media/store.ts'
import type { Job } from './job.ts'
import type { JobList } from './list.ts'
import type { JobStore } from './store.ts'
import type { InputImages } from './submit.ts'

/**
 * Deletes an ended job with all its files: record first, so that nothing points at a file that is gone.
 * @throws ServiceError `job_not_found`, or `job_operation_invalid` while the job is active
 */
export async function removeJob (
  id: string, { store, media, inputs }: { store: JobStore, media: MediaStore, inputs: InputImages }
): Promise<void> {
  const job = await store.remove(id)
  await Promise.all((job.result?.images ?? []).map(async ({ name }) => { await media.removeOutput(name) }))
  await inputs.release(job.submission.parameters)
}

/** Which ended jobs go. A rule that is 0 lets none go. */
export interface RetentionRules {
  /** Those that ended longer ago than this, in days. */
  readonly days: number
  /** All but this many, the newest staying. */
  readonly jobs: number
  /** Those of /sdapi/v1 that ended longer ago than this, in days. */
  readonly dropInDays: number
}

/** What is due to be removed, or was. */
export interface Removal {
  readonly jobs: number
  readonly images: number
  /** Of the images. */
  readonly bytes: number
  /** When the first of them was accepted, in milliseconds since the epoch. */
  readonly oldest: number | null
}

export interface Purge extends Removal {
  /** Whether more is due than was removed at once. */
  readonly more: boolean
}

export interface PurgeLimits {
  /** Jobs that one call removes. */
  readonly most?: number
  /** How many jobs the caller expects to be due at the most. */
  readonly expected?: number
  /** Only jobs that were accepted before this moment, in milliseconds since the epoch. */
  readonly before?: number
}

export interface PastPurge extends Removal {
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Removes ended jobs with all their files, once they are old enough or too many. */
export interface Retention {
  /** What would go by these rules, or by those in force. */
  due (rules?: RetentionRules): Promise<Removal>
  /**
   * Removes it, oldest first.
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
  /** Those in force. */
  readonly rules: () => Promise<RetentionRules>
}

/** How often it is looked for old jobs, in milliseconds. */
export const purgeInterval = 6 * 3_600_000
const dayMs = 86_400_000
const pageSize = 200
const nothing: Removal = { jobs: 0, images: 0, bytes: 0, oldest: null }

export function createRetention (dependencies: RetentionDependencies): Retention {
  const { redis, keys, store, list, media, inputs, log } = dependencies
  const lastKey = keys.key('last-purge')

  /** Jobs that the rules let go, oldest first; they may be removed while this goes on. */
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
        // Another process purges too, and a failed job may be tried again just now.
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
