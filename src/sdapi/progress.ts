import type { A1111Client } from '../a1111/client.ts'
import { fieldsOf, type JsonObject } from '../a1111/json-values.ts'
import type { Job } from '../jobs/job.ts'

/** A1111's answer to GET /progress. */
export interface ProgressView {
  readonly progress: number
  readonly eta_relative: number
  readonly state: Readonly<Record<string, unknown>>
  readonly current_image: string | null
  readonly textinfo: string | null
}

/** A1111 adds this as soon as anything runs. */
const begun = 0.01

const idleState = {
  skipped: false,
  interrupted: false,
  stopping_generation: false,
  job: '',
  job_count: 0,
  job_timestamp: '0',
  job_no: 0,
  sampling_step: 0,
  sampling_steps: 0
}

export const idleProgress: ProgressView = {
  progress: 0, eta_relative: 0, state: idleState, current_image: null, textinfo: null
}

/**
 * A job that waits in line, which A1111 would have begun.
 * @param place from 1
 */
export function waitingProgress ({ submission }: Job, place: number, waiting: number): ProgressView {
  const state = { ...idleState, job: `scripts_${submission.mode}`, job_count: -1 }
  return { ...idleProgress, state, textinfo: `In queue: ${place}/${Math.max(place, waiting)}` }
}

/** What is known of a running job without asking its server. */
export function recordedProgress ({ submission, progress }: Job): ProgressView {
  const known = progress ?? { fraction: 0, step: null, steps: null, etaSeconds: null }
  return {
    progress: Math.min(1, known.fraction + begun),
    eta_relative: known.etaSeconds ?? 0,
    state: {
      ...idleState,
      job: `scripts_${submission.mode}`,
      job_count: progress === null ? -1 : Number(submission.parameters.n_iter ?? 1),
      sampling_step: known.step ?? 0,
      sampling_steps: known.steps ?? 0
    },
    current_image: null,
    textinfo: null
  }
}

/**
 * The server's own view with its preview, but only where it says that it is this job that runs: what else runs there
 * is another's.
 * @param skipImage `true` where the caller wants no preview
 */
export async function liveProgress (client: A1111Client, job: Job, skipImage: string): Promise<ProgressView> {
  const { task } = await client.progress(job.id)
  if (task !== 'running') return recordedProgress(job)
  const view: JsonObject = fieldsOf(await client.readJson(`/sdapi/v1/progress?skip_current_image=${skipImage}`))
  if (fieldsOf(view.state).job_count === 0) return recordedProgress(job)
  return { ...recordedProgress(job), ...view, ...(skipImage === 'true' ? { current_image: null } : {}) }
}
