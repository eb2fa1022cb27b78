import { ServiceError } from '../errors.ts'
import { withDeadline } from '../lib/deadline.ts'
import type { JobNotices } from './notices.ts'

/**
 * Resolves when a job has ended or the seconds are over, at once when no caller waits any more.
 * @throws ServiceError `job_not_found` when it is removed meanwhile
 */
export type JobWait = (jobId: string, seconds: number, gone: AbortSignal) => Promise<void>

/** @param stopping aborted when the service is about to stop, so that nobody is kept waiting */
export function createJobWait (notices: Pick<JobNotices, 'ended'>, stopping: AbortSignal): JobWait {
  return async (jobId, seconds, gone) => {
    await withDeadline(seconds * 1000, [gone, stopping], async signal => {
      await notices.ended(jobId, signal).catch(error => { if (error instanceof ServiceError) throw error })
    })
  }
}
