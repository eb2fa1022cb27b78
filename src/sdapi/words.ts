import { hasEnded, type JobStatus } from '../../schemas/job-status.ts'
import type { Job } from '../jobs/job.ts'

/** The states of async-proxy and of the Job Tracker; both know fewer or other ones than this service. */
export const proxyStates = {
  pending: 'pending', processing: 'generating', completed: 'completed', failed: 'error', cancelled: 'canceled'
} as const satisfies Record<JobStatus, string>

export const trackerStates = {
  pending: 'Pending', processing: 'Processing', completed: 'Completed', failed: 'Failed', cancelled: 'Failed'
} as const satisfies Record<JobStatus, string>

/** Steps of a job in async-proxy's words; the webhook is no step that a job waits in. */
export const workflows = ['txt2img', 'img2img'].map(workflow =>
  ({ workflow, steps: ['pending', 'generating', 'completed'] }))

/** async-proxy's progress, 0 to 1: a tenth at the start, a tenth after the last step. */
export function proxyProgress ({ status, progress }: Pick<Job, 'status' | 'progress'>): number {
  if (hasEnded(status)) return 1
  if (status === 'pending') return 0
  return 0.1 + 0.8 * Math.min(1, Math.max(0, progress?.fraction ?? 0))
}

export const iso = (moment: number | null) => moment === null ? null : new Date(moment).toISOString()

/** What the Job Tracker calls a job; one that did not come through the drop-in has only its long id. */
export function trackerId ({ id, submission }: Job): string {
  return submission.dropIn?.shortId ?? id
}

/** Seconds since the epoch. */
export function timestampOf ({ createdAt }: Pick<Job, 'createdAt'>): number {
  return Math.floor(createdAt / 1000)
}

/** An entry of `/sdapi/v1/jobs` for the clients of both, whose fields do not collide. */
export function listEntry (job: Job) {
  return {
    uuid: job.id,
    job_status: proxyStates[job.status],
    workflow: job.submission.mode,
    retry_count: Math.max(0, job.starts - 1),
    progress: proxyProgress(job),
    created_at: iso(job.createdAt),
    id: trackerId(job),
    prompt: job.submission.parameters.prompt ?? '',
    ip: job.submission.dropIn?.ip ?? '',
    timestamp: timestampOf(job),
    status: trackerStates[job.status],
    output_paths: (job.result?.images ?? []).map(({ name }) => `/outputs/${name}`)
  }
}

/** An entry of `/public/jobs.json`. */
export function publicEntry (job: Job) {
  const { id, status, submission, starts, attempts, createdAt, endedAt } = job
  return {
    uuid: id,
    status: proxyStates[status],
    workflow: submission.mode,
    progress: proxyProgress(job),
    retry_count: Math.max(0, starts - 1),
    ready: status === 'pending' ? 1 : 0,
    ready_at: iso(createdAt),
    last_retry: iso(attempts.at(-1)?.startedAt ?? null),
    created_at: iso(createdAt),
    completed_at: iso(endedAt)
  }
}

export function failureEntry ({ id, error }: Job) {
  return { uuid: id, error: error?.message ?? '' }
}
