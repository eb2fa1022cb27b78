import { hasEnded, type JobStatus } from '../../schemas/job.ts'
import { iso } from '../lib/text.ts'
import type { Job } from '../jobs/job.ts'

/** The states of async-proxy and of the Job Tracker; both know fewer or other ones than this service. */
export const proxyStates = {
  pending: 'pending', processing: 'generating', completed: 'completed', failed: 'error', cancelled: 'canceled'
} as const satisfies Record<JobStatus, string>

export const trackerStates = {
  pending: 'Pending', processing: 'Processing', completed: 'Completed', failed: 'Failed', cancelled: 'Failed'
} as const satisfies Record<JobStatus, string>

/** Steps of work in async-proxy's words; the webhook is no step that a job waits in. */
export const workflows = Object.entries({
  txt2img: 'generating', img2img: 'generating', 'civitai-download': 'civitai-download', 'asset-download': 'asset-download'
}).map(([workflow, step]) => ({ workflow, steps: ['pending', step, 'completed'] }))

/** Only where a Florence is configured. */
export const florenceWorkflow = { workflow: 'florence', steps: ['pending', 'florence', 'completed'] }

/** async-proxy's progress, 0 to 1: a tenth at the start, a tenth after the last step. */
export function proxyProgress ({ status, progress }: Pick<Job, 'status' | 'progress'>): number {
  if (hasEnded(status)) return 1
  if (status === 'pending') return 0
  return 0.1 + 0.8 * Math.min(1, Math.max(0, progress?.fraction ?? 0))
}

/** The Job Tracker's id of a job; one that did not come through the drop-in has only its long id. */
export function trackerId ({ id, submission }: Job): string {
  return submission.dropIn?.shortId ?? id
}

/** Seconds since the epoch. */
export function timestampOf ({ createdAt }: Pick<Job, 'createdAt'>): number {
  return Math.floor(createdAt / 1000)
}

/** A list's view of a job, or of another async-proxy job. Times are in milliseconds since the epoch. */
export interface Shown {
  readonly id: string
  readonly shortId: string
  readonly workflow: string
  readonly status: JobStatus
  /** async-proxy's word for it. */
  readonly state: string
  readonly progress: number
  readonly retries: number
  readonly createdAt: number
  readonly triedAt: number | null
  readonly endedAt: number | null
  readonly prompt: string
  readonly ip: string
  /** Names of outputs. */
  readonly images: readonly string[]
  readonly failure: string | null
}

export function shownJob (job: Job): Shown {
  const { id, status, submission, starts, attempts, createdAt, endedAt, result, error } = job
  return {
    id,
    shortId: trackerId(job),
    workflow: submission.mode,
    status,
    state: proxyStates[status],
    progress: proxyProgress(job),
    retries: Math.max(0, starts - 1),
    createdAt,
    triedAt: attempts.at(-1)?.startedAt ?? null,
    endedAt,
    prompt: submission.parameters.prompt ?? '',
    ip: submission.dropIn?.ip ?? '',
    images: (result?.images ?? []).map(({ name }) => name),
    failure: error?.message ?? null
  }
}

/** An entry of `/sdapi/v1/jobs` for the clients of both, whose fields do not collide. */
export function listEntry (shown: Shown, base: string) {
  const { id, shortId, workflow, status, state, progress, retries, createdAt, prompt, ip, images } = shown
  return {
    uuid: id,
    job_status: state,
    workflow,
    retry_count: retries,
    progress,
    created_at: iso(createdAt),
    id: shortId,
    prompt,
    ip,
    timestamp: timestampOf(shown),
    status: trackerStates[status],
    output_paths: images.map(name => `${base}/outputs/${name}`)
  }
}

/** An entry of `/public/jobs.json`. */
export function publicEntry ({ id, status, state, workflow, progress, retries, createdAt, triedAt, endedAt }: Shown) {
  return {
    uuid: id,
    status: state,
    workflow,
    progress,
    retry_count: retries,
    ready: status === 'pending' ? 1 : 0,
    ready_at: iso(createdAt),
    last_retry: iso(triedAt),
    created_at: iso(createdAt),
    completed_at: iso(endedAt)
  }
}

export function failureEntry ({ id, failure }: Pick<Shown, 'id' | 'failure'>) {
  return { uuid: id, error: failure ?? '' }
}

export function newestFirst (one: Pick<Shown, 'createdAt'>, other: Pick<Shown, 'createdAt'>): number {
  return other.createdAt - one.createdAt
}
