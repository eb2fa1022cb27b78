import { setTimeout as sleep } from 'node:timers/promises'
import type { CheckStepName, ServerCheckReport } from '../../schemas/server-check.ts'
import type { A1111Client } from '../a1111/client.ts'
import { isMissing } from '../a1111/failures.ts'
import type { RawAnswer, RawCalls } from '../a1111/raw-calls.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { createTaskRecogniser, stopOrphanedTask, type TaskControl, type TaskRecogniser } from '../jobs/interrupt.ts'
import { createTaskKnowledge } from '../jobs/task-knowledge.ts'
import { withDeadline } from '../lib/deadline.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import { type LearnedTraits, nothingLearned } from '../servers/learned-traits.ts'
import type { UndoNotes, UndoRecord } from './undo.ts'

/** Ends a check before its last step; all changes are restored anyway. */
export class CheckEnded extends Error {
  readonly outcome: 'could_not_run' | 'broken_off'

  constructor (outcome: 'could_not_run' | 'broken_off', reason: string) {
    super(reason)
    this.outcome = outcome
  }
}

/** A fact that a step could not find out, in words; the next step continues. */
export class NotFoundOut extends Error {}

/** Prefix of the tasks of checks, which distinguishes them from jobs in the log of a server. */
export const checkTaskPrefix = 'stablequeue-check-'

/** Limits of a check, in milliseconds. */
export interface CheckLimits {
  /** How long it waits for a running job of ours, and for a generation of another client. */
  readonly waitMs: number
  /** For one small generation; the first one sometimes loads a checkpoint. */
  readonly generationMs: number
  /** Between two readings of the progress. */
  readonly lookMs: number
  /** Largest request body to try, in bytes. */
  readonly largestBody: number
}

export const defaultLimits: CheckLimits = {
  waitMs: 600_000, generationMs: 300_000, lookMs: 40, largestBody: 64 * 1024 * 1024
}

export interface CheckGeneration {
  readonly steps: number
  readonly fields?: Readonly<Record<string, unknown>>
  readonly timeoutMs?: number
  /** Watches it until its answer aborts the signal. */
  readonly meanwhile?: (running: RunningGeneration) => Promise<void>
}

export interface RunningGeneration {
  readonly taskId: string
  readonly isOurs: TaskRecogniser['isOurs']
  readonly over: AbortSignal
}

/** How the steps of a check reach the server. */
export interface CheckSession {
  readonly calls: RawCalls
  readonly client: A1111Client
  readonly limits: CheckLimits
  readonly signal: AbortSignal
  readonly undo: UndoNotes
  /** Reads the progress of a task, if the server can tell tasks apart, and interrupts. */
  readonly control: TaskControl
  /** One request of the report. @throws GenerationFailure if no answer came */
  ask (method: 'GET' | 'POST', path: string, body?: string | Buffer, timeoutMs?: number): Promise<RawAnswer>
  /** @throws GenerationFailure if no answer came; the server is free of it then */
  generate (generation: CheckGeneration): Promise<RawAnswer>
  /** Number of generations sent. */
  made (): number
  /** Duration of the last request in milliseconds, answered or not. */
  lastTook (): number
  /** Notes whether the server knows our tasks, as the check found. */
  noteTasks (known: boolean): void
}

export interface CheckSessionDependencies {
  readonly id: string
  readonly calls: RawCalls
  readonly client: A1111Client
  /** Interrupts, while this process serves the server. */
  readonly interrupt: TaskControl['interrupt']
  readonly undo: UndoNotes
  readonly limits: CheckLimits
  /** Aborts the running step. */
  readonly signal: () => AbortSignal
  readonly maxGenerations: number
  /** False if the server accepts no settings and no task ids. */
  readonly takesSettings: () => boolean
  readonly step: () => CheckStepName
  readonly requests: ServerCheckReport['requests']
}

/** Milliseconds for a small request, and for the server to stop an abandoned generation. */
const smallTimeout = 20_000
const orphanWait = 60_000
const maxRequests = 300
const idlePause = 250

export function createCheckSession (dependencies: CheckSessionDependencies): CheckSession {
  const {
    id, calls, client, interrupt, undo, limits, signal, maxGenerations, takesSettings, step, requests
  } = dependencies
  let made = 0
  let took = 0
  // The check determines again what jobs have shown.
  let learned: LearnedTraits = nothingLearned
  const note = (found: Partial<LearnedTraits>) => { learned = { ...learned, ...found } }
  const tasks = createTaskKnowledge(client, { now: () => learned, note })
  const control: TaskControl = { progress: tasks.progress, interrupt }

  async function record (
    method: 'GET' | 'POST', path: string, work: () => Promise<RawAnswer>
  ): Promise<RawAnswer> {
    const begin = performance.now()
    const keep = (status: number | null) => {
      took = performance.now() - begin
      if (requests.length >= maxRequests) return
      requests.push({ step: step(), method, route: path, status, duration_ms: Math.round(took) })
    }
    try {
      const answer = await work()
      keep(answer.status)
      return answer
    } catch (error) {
      keep(null)
      throw error
    }
  }

  /** The check never runs beside a generation of a person or another program. */
  async function untilIdle (): Promise<void> {
    const begin = performance.now()
    for (;;) {
      const seen = await control.progress(null, { signal: signal() }).catch((error: unknown) => {
        if (isMissing(error)) return null
        throw error
      })
      if (seen === null || !seen.busy) return
      if (performance.now() - begin > limits.waitMs) {
        throw new CheckEnded('broken_off', 'Somebody else\'s generation was running for ' +
          `${Math.round(limits.waitMs / 1000)} s; the check does not mix with it.`)
      }
      await sleep(idlePause, undefined, { signal: signal() })
    }
  }

  async function writeTasks (change: (tasks: UndoRecord['tasks']) => UndoRecord['tasks']): Promise<void> {
    const before = undo.read()
    await undo.write({ ...before, tasks: change(before.tasks) })
  }

  /** Only another process uses the mark, so a failure to store it does not matter. */
  function keepMark (taskId: string, mark: string): void {
    writeTasks(tasks => tasks.map(task => task.id === taskId ? { ...task, mark } : task)).catch(() => undefined)
  }

  function bodyOf ({ steps, fields }: CheckGeneration, taskId: string): string {
    const plain = { prompt: 'a grey square', seed: 1, steps, width: 64, height: 64, batch_size: 1, n_iter: 1 }
    const own = { force_task_id: taskId, send_images: true, save_images: false }
    return stringifyJson({ ...plain, ...takesSettings() ? own : {}, ...fields })
  }

  /** Waits until the server is free of it. */
  async function stopLeft (taskId: string, sentAt: number, mark: string | null): Promise<void> {
    await withDeadline(orphanWait, [], async late => {
      await stopOrphanedTask(control, taskId, { sentAt, answer: 'none', mark }, late).catch(() => undefined)
    })
  }

  async function generate (generation: CheckGeneration): Promise<RawAnswer> {
    if (made >= maxGenerations) throw new NotFoundOut('The check has reached its limit of generations.')
    await untilIdle()
    signal().throwIfAborted()
    made++
    const taskId = `${checkTaskPrefix}${id}-${made}`
    const sentAt = Date.now()
    await writeTasks(tasks => [...tasks, { id: taskId, sentAt, mark: null }])
    const over = new AbortController()
    let ownMark: string | null = null
    let answered = () => {}
    const recogniser = createTaskRecogniser(tasks, taskId, mark => {
      ownMark = mark
      keepMark(taskId, mark)
    }, over.signal)
    await recogniser.before().catch(() => undefined)
    const watching = generation.meanwhile?.({ taskId, isOurs: recogniser.isOurs, over: over.signal })
    watching?.catch(() => undefined)
    try {
      const answer = await record('POST', '/sdapi/v1/txt2img', async () => await calls.call({
        method: 'POST',
        path: '/sdapi/v1/txt2img',
        body: bodyOf(generation, taskId),
        timeoutMs: generation.timeoutMs ?? limits.generationMs,
        signal: signal(),
        onSent () {
          answered = tasks.sent(taskId)
          recogniser.sent()
        }
      }))
      // A proxy answered; the generation can continue behind it.
      if (answer.status > 500 || answer.status === 408) await stopLeft(taskId, sentAt, ownMark)
      return answer
    } catch (error) {
      if (error instanceof GenerationFailure && error.mayBeRunning) await stopLeft(taskId, sentAt, ownMark)
      throw error
    } finally {
      over.abort()
      answered()
      await watching?.catch(() => undefined)
      await writeTasks(tasks => tasks.filter(task => task.id !== taskId))
    }
  }

  return {
    calls,
    client,
    limits,
    get signal () { return signal() },
    undo,
    control,
    ask: async (method, path, body, timeoutMs = smallTimeout) => await record(method, path, async () =>
      await calls.call({ method, path, timeoutMs, signal: signal(), ...body === undefined ? {} : { body } })),
    generate,
    made: () => made,
    lastTook: () => took,
    noteTasks (tasksKnown) { note({ tasksKnown }) }
  }
}
