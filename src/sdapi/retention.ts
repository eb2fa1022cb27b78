import { messageOf, ServiceError } from '../errors.ts'
import type { InputImages } from '../jobs/input-images.ts'
import type { JobList } from '../jobs/list.ts'
import { removeJob } from '../jobs/remove.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Log } from '../log.ts'
import type { MediaStore } from '../media/store.ts'
import { endStatuses } from '../../schemas/job-status.ts'

/** Removes ended jobs of the drop-in, with their files, once they are old enough. */
export interface Retention {
  /** How many were removed; 0 also where all are kept. */
  purge (): Promise<number>
  close (): void
}

export interface RetentionDependencies {
  readonly store: JobStore
  readonly list: JobList
  readonly media: MediaStore
  readonly inputs: InputImages
  readonly log: Log
  /** Days for which they are kept; 0 keeps them. */
  readonly days: number
}

const intervalMs = 6 * 3_600_000
const dayMs = 86_400_000
const pageSize = 200

/** Purges now and every six hours. */
export function startRetention (dependencies: RetentionDependencies): Retention {
  const { store, list, media, inputs, log, days } = dependencies

  async function purge (): Promise<number> {
    if (days === 0) return 0
    const before = Date.now() - days * dayMs
    let removed = 0
    for (const status of endStatuses) {
      let cursor: string | null | undefined
      do {
        const page = await list.page({
          status, order: 'oldest', limit: pageSize, offset: 0, ...(typeof cursor === 'string' ? { cursor } : {})
        })
        const old = page.jobs.filter(({ createdAt }) => createdAt < before)
        for (const { id } of old.filter(({ submission }) => submission.dropIn !== undefined)) {
          await removeJob(id, { store, media, inputs }).then(() => { removed++ }, unlessGone)
        }
        cursor = old.length < page.jobs.length ? null : page.nextCursor
      } while (cursor !== null)
    }
    if (removed > 0) log.info({ removed, days }, 'old jobs of /sdapi/v1 were removed')
    return removed
  }

  const attempt = () => {
    purge().catch(error => { log.warn({ error: messageOf(error) }, 'could not remove old jobs of /sdapi/v1') })
  }
  if (days === 0) return { purge, close: () => { /* nothing runs */ } }
  attempt()
  const timer = setInterval(attempt, intervalMs)
  timer.unref()
  return { purge, close: () => { clearInterval(timer) } }
}

/** Another process purges too, and a failed job may be tried again just now. */
function unlessGone (error: unknown): void {
  if (error instanceof ServiceError && ['job_not_found', 'job_operation_invalid'].includes(error.code)) return
  throw error
}
