import type { JobQuery, JobStatus, ListedJob } from './api-types.ts'
import { jobs } from './service.ts'

export const statuses = ['processing', 'pending', 'completed', 'failed', 'cancelled'] as const
const ended = ['completed', 'failed', 'cancelled'] as const

/** Jobs of each state in the overview. */
const shown: Readonly<Partial<Record<JobStatus, number>>> = { processing: 50, pending: 5 }
const shownEnded = 10

export interface QueueOverview {
  readonly totals: Readonly<Record<JobStatus, number>>
  readonly groups: Readonly<Record<'processing' | 'pending' | 'ended', ListedJob[]>>
}

/**
 * The overview of the queue page: jobs that run, wait next and finished last, and how many there are of each.
 * @param filter server empty: all
 */
export async function readOverview ({ server }: { server: string }, signal: AbortSignal): Promise<QueueOverview> {
  const read = async (status: JobStatus, more: Partial<JobQuery>) =>
    await jobs.list({ status, ...server !== '' && { server }, limit: shown[status] ?? shownEnded, ...more }, signal)
  const [pages, waiting] = await Promise.all([
    Promise.all(statuses.map(async status =>
      [status, await read(status, status === 'pending' ? { limit: 1 } : {})] as const)),
    read('pending', { order: 'line' })
  ])
  const jobsIn = (status: JobStatus) => pages.find(([name]) => name === status)?.[1].jobs ?? []
  return {
    totals: Object.fromEntries(pages.map(([status, page]) => [status, page.total])) as Record<JobStatus, number>,
    groups: {
      processing: jobsIn('processing'),
      pending: waiting.jobs,
      ended: ended.flatMap(jobsIn).sort((one, other) => momentOf(other) - momentOf(one)).slice(0, shownEnded)
    }
  }
}

function momentOf (job: ListedJob) {
  return Date.parse(job.completion_timestamp ?? job.creation_timestamp)
}
