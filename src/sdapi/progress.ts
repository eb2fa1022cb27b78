import type { Redis } from 'ioredis'
import { hasEnded } from '../../schemas/job.ts'
import type { A1111Client } from '../a1111/client.ts'
import type { Job } from '../jobs/job.ts'
import { fieldsOf, type JsonObject, numberOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'

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
 * A waiting job, which A1111 would have begun.
 * @param position in the queue, from 1
 */
export function waitingProgress ({ submission }: Job, position: number, waiting: number): ProgressView {
  const state = { ...idleState, job: `scripts_${submission.mode}`, job_count: -1 }
  return { ...idleProgress, state, textinfo: `In queue: ${position}/${Math.max(position, waiting)}` }
}

/** Facts about a running job without asking its server. */
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
 * The server's own view with its preview, but only if it says that it runs this job: any other job there is another
 * client's.
 * @param skipImage `true` if the client wants no preview
 */
export async function liveProgress (client: A1111Client, job: Job, skipImage: string): Promise<ProgressView> {
  const { task } = await client.progress(job.id)
  if (task !== 'running') return recordedProgress(job)
  const view: JsonObject = fieldsOf(await client.readJson(`/sdapi/v1/progress?skip_current_image=${skipImage}`))
  if (fieldsOf(view.state).job_count === 0) return recordedProgress(job)
  return { ...recordedProgress(job), ...view, ...(skipImage === 'true' ? { current_image: null } : {}) }
}

/** The clients' names of their own generations, in `force_task_id`. */
export interface ClientTasks {
  note (client: string, taskId: string, jobId: string): Promise<void>
  /** Id of the job; null if this client has used no such name. */
  find (client: string, taskId: string): Promise<string | null>
}

/** In seconds; longer than any client watches a generation. */
const remembered = 86_400
const longestName = 200

export function createClientTasks (redis: Redis, keys: Keys): ClientTasks {
  const taskKey = (client: string, taskId: string) => keys.key('drop-in', 'task', client, taskId.slice(0, longestName))
  return {
    async note (client, taskId, jobId) { await redis.set(taskKey(client, taskId), jobId, 'EX', remembered) },
    find: async (client, taskId) => await redis.get(taskKey(client, taskId))
  }
}

/** A1111's answer to POST /internal/progress. */
export interface TaskView {
  readonly active: boolean
  readonly queued: boolean
  readonly completed: boolean
  readonly progress: number | null
  readonly eta: number | null
  readonly live_preview: string | null
  readonly id_live_preview: number
  readonly textinfo: string | null
}

export const unknownTask: TaskView = {
  active: false,
  queued: false,
  completed: false,
  progress: null,
  eta: null,
  live_preview: null,
  id_live_preview: -1,
  textinfo: 'Waiting...'
}

/** @param position in the queue, from 1 */
export function waitingTask (position: number, waiting: number): TaskView {
  return { ...unknownTask, queued: true, textinfo: `In queue: ${position}/${Math.max(position, waiting)}` }
}

export function endedTask ({ status }: Pick<Job, 'status'>): TaskView {
  return { ...unknownTask, completed: hasEnded(status) }
}

/** A running job, with its server's preview if that says that it runs this job. */
export async function runningTask (
  { id, progress }: Job, client: A1111Client | null, requested: Readonly<Record<string, unknown>>
): Promise<TaskView> {
  const known: TaskView = {
    ...unknownTask, active: true, progress: progress?.fraction ?? 0, eta: progress?.etaSeconds ?? null, textinfo: null
  }
  if (client === null) return known
  const view = fieldsOf(await client.postJson('/internal/progress', { ...requested, id_task: id }).catch(() => null))
  if (view.active !== true) return known
  return {
    ...known,
    progress: numberOf(view.progress) ?? known.progress,
    eta: numberOf(view.eta) ?? known.eta,
    live_preview: requested.live_preview !== false && typeof view.live_preview === 'string' ? view.live_preview : null,
    id_live_preview: numberOf(view.id_live_preview) ?? -1
  }
}
