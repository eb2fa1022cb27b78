import { anySignal } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { MediaStore } from '../media/store.ts'
import type { Job } from './job.ts'
import type { JobNotices } from './notices.ts'

/** What became of a job for a client that waits for its images; each interface renders it in its own words. */
export type JobOutcome =
  /** All its images are readable; a cancelled job has those made so far, possibly none. */
  | { readonly kind: 'completed' | 'cancelled', readonly job: Job }
  | { readonly kind: 'failed', readonly job: Job }
  /** It has ended, but the storage lacks one of its images. */
  | { readonly kind: 'lost', readonly job: Job }
  /** It was deleted before it ended. */
  | { readonly kind: 'deleted' }
  /** This process stops before; the job goes on after the next start. */
  | { readonly kind: 'stopping' }
  /** The wait was over before. */
  | { readonly kind: 'left' }

export interface JobOutcomesDependencies {
  readonly notices: Pick<JobNotices, 'ended'>
  readonly media: MediaStore
  /** Fires when the service begins to stop. */
  readonly stopping: AbortSignal
}

/** @param over ends the wait: the client disconnects, or has waited for long enough */
export type JobOutcomes = (jobId: string, over: AbortSignal) => Promise<JobOutcome>

export function createJobOutcomes ({ notices, media, stopping }: JobOutcomesDependencies): JobOutcomes {
  return async (jobId, over) => {
    const { signal, clear } = anySignal(over, stopping)
    try {
      const job = await notices.ended(jobId, signal)
      return await checked(media, job)
    } catch (error) {
      if (over.aborted) return { kind: 'left' }
      if (signal.aborted) return { kind: 'stopping' }
      if (isMissing(error)) return { kind: 'deleted' }
      throw error
    } finally {
      clear()
    }
  }
}

async function checked (media: MediaStore, job: Job): Promise<JobOutcome> {
  if (job.status === 'failed') return { kind: 'failed', job }
  try {
    await checkImages(media, job)
  } catch (error) {
    if (isMissing(error)) return { kind: 'lost', job }
    throw error
  }
  return { kind: job.status === 'cancelled' ? 'cancelled' : 'completed', job }
}

function isMissing (error: unknown): boolean {
  return error instanceof ServiceError && error.status === 404
}

/** The error for a client that waits while the service stops. */
export function stopsBeforeEnd (): ServiceError {
  return new ServiceError('shutting_down', 'The service stops before the job has finished. The job is kept and ' +
    'finishes after the next start; its id is in X-Job-ID.')
}

/**
 * Checks that all images of a job are readable, while another answer is still possible.
 * @throws ServiceError `image_not_found`
 */
export async function checkImages (media: MediaStore, { result }: Pick<Job, 'result'>): Promise<void> {
  for (const { name } of result?.images ?? []) await (await media.openOutput(name)).close()
}
