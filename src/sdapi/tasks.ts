import type { Redis } from 'ioredis'
import type { A1111Client } from '../a1111/client.ts'
import { fieldsOf, numberOf } from '../a1111/json-values.ts'
import { hasEnded } from '../../schemas/job-status.ts'
import type { Job } from '../jobs/job.ts'
import type { Keys } from '../redis/keys.ts'

/** What callers call their own generations, in `force_task_id`. */
export interface CallerTasks {
  note (caller: string, taskId: string, jobId: string): Promise<void>
  /** Id of the job; null where this caller has named none so. */
  find (caller: string, taskId: string): Promise<string | null>
}

/** In seconds; longer than anybody watches a generation. */
const remembered = 86_400
const longestName = 200

export function createCallerTasks (redis: Redis, keys: Keys): CallerTasks {
  const taskKey = (caller: string, taskId: string) => keys.key('drop-in', 'task', caller, taskId.slice(0, longestName))
  return {
    async note (caller, taskId, jobId) { await redis.set(taskKey(caller, taskId), jobId, 'EX', remembered) },
    find: async (caller, taskId) => await redis.get(taskKey(caller, taskId))
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

/** @param place in line, from 1 */
export function waitingTask (place: number, waiting: number): TaskView {
  return { ...unknownTask, queued: true, textinfo: `In queue: ${place}/${Math.max(place, waiting)}` }
}

export function endedTask ({ status }: Pick<Job, 'status'>): TaskView {
  return { ...unknownTask, completed: hasEnded(status) }
}

/** A running job, with its server's preview where that says that it runs this job. */
export async function runningTask (
  { id, progress }: Job, client: A1111Client | null, wish: Readonly<Record<string, unknown>>
): Promise<TaskView> {
  const known: TaskView = {
    ...unknownTask, active: true, progress: progress?.fraction ?? 0, eta: progress?.etaSeconds ?? null, textinfo: null
  }
  if (client === null) return known
  const view = fieldsOf(await client.postJson('/internal/progress', { ...wish, id_task: id }).catch(() => null))
  if (view.active !== true) return known
  return {
    ...known,
    progress: numberOf(view.progress) ?? known.progress,
    eta: numberOf(view.eta) ?? known.eta,
    live_preview: wish.live_preview !== false && typeof view.live_preview === 'string' ? view.live_preview : null,
    id_live_preview: numberOf(view.id_live_preview) ?? -1
  }
}
