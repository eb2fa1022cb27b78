import { isMissing } from './failures.ts'
import { fieldsOf, numberOf, textOf } from '../lib/json-values.ts'
import type { SmallCallOptions, SmallCalls } from './small-calls.ts'
import type { ProgressFigures, ServerProgress } from './types.ts'

/** Time after which to try a missing `/internal/progress` again: the server can have restarted. */
const askAgainMs = 30_000
/** A1111 adds this to its global progress as soon as anything runs. */
const globalOffset = 0.01

/**
 * A reader of one server's progress. It reads the whole server first and `/internal/progress` of the task second, so
 * that `running` is as fresh as possible: an interrupt because of it must not hit a later task. A1111 keeps a task that
 * raised an error `active` for ever; "active, yet nothing runs" reveals that. A server started with --nowebui knows no
 * tasks; then every task is `unknown`. Some answer without ever knowing a task of the API: how far their `gone` can be
 * believed depends on the learned traits of the server.
 *
 * What the words mean: `gone`: over, or unknown (not yet, or no longer: A1111 remembers 16); `queued` while nothing is
 * busy: about to begin, or failed before it began, which A1111 never clears. The generation's own answer decides in
 * both cases.
 *
 * @throws GenerationFailure, `route_missing` if the server has no progress at all (sd.cpp)
 */
export function createProgressReader (
  calls: SmallCalls
): (taskId: string | null, options?: SmallCallOptions) => Promise<ServerProgress> {
  let tasksMissingUntil = 0

  async function readTask (taskId: string, options?: SmallCallOptions): Promise<TaskView | null> {
    if (performance.now() < tasksMissingUntil) return null
    try {
      return taskViewOf(await calls.post('/internal/progress', { id_task: taskId, live_preview: false }, options))
    } catch (error) {
      if (!isMissing(error)) throw error
      tasksMissingUntil = performance.now() + askAgainMs
      return null
    }
  }

  return async (taskId, options) => {
    const server = serverViewOf(await calls.get('/sdapi/v1/progress?skip_current_image=true', options))
    const task = taskId === null ? null : await readTask(taskId, options)
    return combine(task, server)
  }
}

interface TaskView {
  readonly active: boolean
  readonly queued: boolean
  readonly completed: boolean
  /** 0 to 1; null if it does not run, or if the server does not say. */
  readonly progress: number | null
  readonly eta: number | null
}
type ServerView = Pick<ServerProgress, 'busy' | 'mark' | 'whole'>

function combine (task: TaskView | null, server: ServerView): ServerProgress {
  if (task === null) return { ...server, ...server.whole, task: 'unknown' }
  if (task.active && server.busy) return { ...server, ...figuresOf(task, server), task: 'running' }
  // the server now works on another task, so its figures do not apply to this one
  return {
    ...server,
    fraction: task.completed ? 1 : 0,
    step: null,
    steps: null,
    etaSeconds: null,
    task: task.queued ? 'queued' : 'gone'
  }
}

/** No generation can take longer, in seconds: the largest JOB_TIMEOUT_SECONDS. */
export const longestGeneration = 86_400
/** By how much two figures of the same moment can differ. */
const tolerance = 0.005

/**
 * The task can begin between the two answers: then the figures of the server are those of the generation before, which
 * can be another client's and last long. An interrupt relies on the time that is left, so that is the task's own.
 */
function figuresOf ({ progress, eta }: TaskView, { whole }: ServerView): ProgressFigures {
  if (progress === null) return whole
  const isOfTask = whole.fraction <= progress + tolerance
  return {
    ...isOfTask ? whole : { fraction: progress, step: null, steps: null },
    etaSeconds: progress > 0 ? eta : null
  }
}

function taskViewOf (answer: unknown): TaskView {
  const view = fieldsOf(answer)
  return {
    active: view.active === true,
    queued: view.queued === true,
    completed: view.completed === true,
    progress: numberOf(view.progress),
    eta: secondsOf(view.eta)
  }
}

function serverViewOf (answer: unknown): ServerView {
  const view = fieldsOf(answer)
  const state = fieldsOf(view.state)
  // -1 while a checkpoint loads; the steps are still those of the job before then
  const jobCount = numberOf(state.job_count) ?? 0
  const sampling = jobCount > 0
  const fraction = jobCount === 0 ? 0 : Math.max(0, fractionOf(view.progress) - globalOffset)
  return {
    busy: jobCount !== 0,
    mark: jobCount === 0 ? null : textOf(state.job_timestamp),
    whole: {
      fraction,
      step: sampling ? numberOf(state.sampling_step) : null,
      steps: sampling ? numberOf(state.sampling_steps) : null,
      // before the first step the estimate divides the elapsed time by zero
      etaSeconds: sampling && fraction > 0 ? secondsOf(view.eta_relative) : null
    }
  }
}

function fractionOf (value: unknown): number {
  return Math.min(1, Math.max(0, numberOf(value) ?? 0))
}

/** Null for what is no time that a generation can take: A1111 extrapolates from the first of the steps. */
function secondsOf (value: unknown): number | null {
  const number = numberOf(value)
  return number !== null && number > 0 && number <= longestGeneration ? number : null
}
