import { ServiceError } from '../errors.ts'
import type { Job } from '../jobs/job.ts'
import type { JobNotices } from '../jobs/notices.ts'
import { anySignal, withDeadline } from '../lib/deadline.ts'
import type { MediaStore } from '../media/store.ts'
import { PythonError } from '../simulator/failures.ts'
import { checkImages } from './answer.ts'
import type { CallerJobs } from './callers.ts'
import { errorOfJob } from './errors.ts'

/** How the jobs of waiting callers end. */
export interface Outcomes {
  /**
   * The job once it has ended in a way that A1111 answers with images. Interrupted calls are among them: A1111 answers
   * with the images made so far.
   * @throws the error that A1111 answers in place of images; `shutting_down` when this process stops before
   */
  of (jobId: string, gone: AbortSignal): Promise<Job>
  /** The same, but null where the job has not ended after so many seconds, or when this process stops. */
  within (jobId: string, seconds: number, gone: AbortSignal): Promise<Job | null>
}

export interface OutcomesDependencies {
  readonly notices: Pick<JobNotices, 'ended'>
  readonly media: MediaStore
  readonly callerJobs: Pick<CallerJobs, 'wasInterrupted'>
  /** Fires when the service begins to stop. */
  readonly stopping: AbortSignal
}

export function createOutcomes ({ notices, media, callerJobs, stopping }: OutcomesDependencies): Outcomes {
  async function check (job: Job): Promise<Job> {
    if (job.status === 'failed') throw errorOfJob(job)
    const isEmpty = (job.result?.images ?? []).length === 0
    // To the caller that did not interrupt its call, no images at all are a failure.
    if (job.status === 'cancelled' && isEmpty && !await callerJobs.wasInterrupted(job.id)) {
      throw new PythonError('InterruptedError', 'The job was cancelled before it made an image.')
    }
    await checkImages(media, job).catch(asLost('FileNotFoundError', 'An image of this job is missing in the storage.'))
    return job
  }

  /** Null where the signal fires first. */
  async function ended (jobId: string, over: AbortSignal): Promise<Job | null> {
    const job = await notices.ended(jobId, over).catch(error => {
      if (over.aborted) return null
      throw error
    }).catch(asLost('InterruptedError', 'The job was deleted before it finished.'))
    return job === null ? null : await check(job)
  }

  return {
    async of (jobId, gone) {
      const { signal, clear } = anySignal(gone, stopping)
      const job = await ended(jobId, signal).finally(clear)
      if (job !== null) return job
      throw new ServiceError('shutting_down', 'The service stops before the job has finished. The job is kept and ' +
        'finishes after the next start; fetch it with the id in X-Job-ID.')
    },
    async within (jobId, seconds, gone) {
      if (seconds === 0) return null
      return await withDeadline(seconds * 1000, [gone, stopping], async over => await ended(jobId, over))
    }
  }
}

/** A status 404 would say that there is no such route. */
function asLost (className: string, sentence: string): (error: unknown) => never {
  return error => {
    if (error instanceof ServiceError && error.status === 404) throw new PythonError(className, sentence)
    throw error
  }
}
