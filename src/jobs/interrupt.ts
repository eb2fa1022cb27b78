import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import { GenerationFailure, type ServerProgress } from '../a1111/types.ts'
import { longestWay, type TaskKnowledge } from './task-knowledge.ts'

/** Recognises whether a server runs a given generation of ours, even if the server knows no tasks. */
export interface TaskRecogniser {
  /** Call this right before the generation is sent. */
  before (): Promise<void>
  /** Call this once it is sent. */
  sent (): void
  isOurs (seen: ServerProgress): boolean
}

/** After this time the request is at the server and has begun, unless something was ahead of it; in milliseconds. */
const begunAfter = 100

/**
 * A server started with --nowebui, or one that has not yet known a task of ours, shows that something runs, but not
 * which task. The running task is ours only if nothing ran when we sent it, and only while it is the one that began
 * then: while the server writes our answer, it already works on the next request, ours or not. In doubt it is not ours.
 * @param onMark called once, with the mark by which the generation is recognised
 */
export function createTaskRecogniser (
  tasks: TaskKnowledge, taskId: string, onMark: (mark: string) => void, over: AbortSignal
): TaskRecogniser {
  let wasIdle = false
  let own: string | null = null

  function isOurs ({ task, busy, mark }: ServerProgress): boolean {
    if (task !== 'unknown') return task === 'running'
    if (!busy || !wasIdle) return false
    if (own === null && mark !== null) {
      own = mark
      if (!over.aborted) onMark(mark)
    }
    return own !== null && own === mark
  }

  return {
    async before () {
      if (tasks.distinguishesTasks()) return
      wasIdle = await tasks.progress(null).then(({ busy }) => !busy, () => false)
    },
    sent () {
      if (!wasIdle) return
      sleep(begunAfter, undefined, { signal: over })
        .then(async () => { isOurs(await tasks.progress(taskId, { signal: over })) })
        .catch(() => undefined) // a cancel probes by itself
    },
    isOurs
  }
}

const defaultPause = 250
/**
 * A generation that would finish within this time, or within four times the duration of a probe, is left to finish; in
 * milliseconds. A1111 cannot interrupt one particular task, so a late interrupt would hit its next task.
 */
const nearlyOver = 500
/** What stopping a task needs of a server. */
export interface TaskControl extends Pick<TaskKnowledge, 'progress'> {
  /** Milliseconds between two probes; a quarter of a second by default. */
  readonly pauseMs?: () => number
  /**
   * Interrupts the server's current task, unless it is uncertain that this process still serves the server, or it is
   * too late: the task could be another's by now. False if this process certainly does not serve it.
   * @param sendBy until when the task surely runs, by the monotonic clock
   */
  interrupt (sendBy: number, signal: AbortSignal): Promise<boolean>
}

/**
 * The interrupts of one process. Each checks the lease first: a process that was frozen for a while would otherwise
 * interrupt the generation of its successor.
 */
export function createTaskControl (
  client: Pick<A1111Client, 'interrupt' | 'progress'>, holdsLease: () => Promise<boolean>, pauseMs = () => defaultPause
): TaskControl {
  return {
    progress: client.progress,
    pauseMs,
    async interrupt (sendBy, signal) {
      // Redis can be away briefly, and this process can stand still meanwhile; the caller tries again.
      const holds = await holdsLease().catch(() => null)
      if (holds === true && !signal.aborted && performance.now() < sendBy) await client.interrupt()
      return holds !== false
    }
  }
}

/**
 * Stops the generation whose answer we await, and nothing else, until the answer aborts the signal. Interrupts only
 * while that task runs, and repeatedly: A1111 loses an interrupt that arrives just before the generation begins. Also
 * continues after the server did not know the task, since it may learn of it later. A task in the server's own queue
 * cannot be withdrawn; it is stopped once it runs.
 */
export async function stopOpenTask (
  client: TaskControl, taskId: string, isOurs: TaskRecogniser['isOurs'], signal: AbortSignal
): Promise<void> {
  const lasts = createOutlastCheck()
  while (!signal.aborted) {
    const seen = await look(client, taskId, signal)
    if (signal.aborted) return
    const sendBy = seen !== null && isOurs(seen) ? lasts(seen) : -Infinity
    if (performance.now() < sendBy && !await client.interrupt(sendBy, signal)) return
    await rest(signal, client.pauseMs?.())
  }
}

/** A generation whose answer is no longer awaited. */
export interface Orphan {
  /** Milliseconds since the epoch; a generation that was sent just now can be unknown because it has yet to arrive. */
  readonly sentAt?: number
  /**
   * Whether it got no answer, so that it is still in the server's own queue if the server says so. A1111 reports a task
   * that failed before its start as queued for ever; if the answer is unknown, an idle server means that the task is
   * gone.
   */
  readonly answer: 'none' | 'unknown'
  /** The mark by which it is recognised if the server cannot tell tasks apart; absent or null if it never was. */
  readonly mark?: string | null
}

/** How long a task that cannot be identified can stall at a server, in milliseconds. */
const longestStandstill = 120_000

/**
 * Stops a generation whose answer is no longer awaited, and resolves once the server is free of it or the signal is
 * aborted. If the server cannot tell tasks apart, it is interrupted if it can be recognised. Any other running task
 * could be ours or another client's; the function waits until that finishes or stalls.
 */
export async function stopOrphanedTask (
  client: TaskControl, taskId: string, { sentAt = 0, answer, mark = null }: Orphan, signal: AbortSignal
): Promise<void> {
  const arrivedBy = performance.now() + Math.min(0, sentAt - Date.now()) + longestWay
  const lasts = createOutlastCheck()
  const stands = createStandstill()
  let idleLooks = 0
  while (!signal.aborted) {
    const seen = await look(client, taskId, signal)
    if (seen !== null) {
      const isUnknown = seen.task === 'unknown'
      idleLooks = seen.busy ? 0 : idleLooks + 1
      const isQueued = seen.task === 'queued' && answer === 'none'
      const isAnothers = isUnknown && mark !== null && seen.busy && seen.mark !== null && seen.mark !== mark
      // Some servers look idle briefly between two stages of one generation.
      const isIdle = idleLooks >= (isUnknown ? 2 : 1) && !isQueued
      const isOver = seen.task === 'gone' || isIdle || isAnothers
      if (isOver && performance.now() >= arrivedBy) return
      if (isUnknown && stands(seen)) return
      const isOurs = seen.task === 'running' || (isUnknown && mark !== null && seen.busy && seen.mark === mark)
      const sendBy = isOurs ? lasts(seen) : -Infinity
      if (performance.now() < sendBy && !await client.interrupt(sendBy, signal)) return
    }
    await rest(signal, client.pauseMs?.())
  }
}

/** Decides by the probes whether a task has stalled for so long that it never will move again. */
function createStandstill (): (seen: ServerProgress) => boolean {
  let last = ''
  let movedAt = performance.now()
  return ({ mark, fraction, step }) => {
    const text = JSON.stringify([mark, fraction, step])
    if (text !== last) movedAt = performance.now()
    last = text
    return performance.now() - movedAt > longestStandstill
  }
}

/**
 * Resolves when a generation of ours that lost its connection is over, or the signal is aborted. Interrupts nothing.
 * @param task `arrivesIn`: milliseconds within which it can still arrive
 * @returns whether it was seen at the server at all
 * @throws GenerationFailure if the server no longer answers
 */
export async function outlastTask (
  client: Pick<TaskControl, 'progress' | 'pauseMs'>, taskId: string,
  { isOurs, arrivesIn }: { readonly isOurs: TaskRecogniser['isOurs'], readonly arrivesIn: number }, signal: AbortSignal
): Promise<boolean> {
  const arrivedBy = performance.now() + arrivesIn
  let wasSeen = false
  while (!signal.aborted) {
    const seen = await look(client, taskId, signal)
    const isThere = seen !== null && (isOurs(seen) || (seen.task === 'queued' && seen.busy))
    // A1111 remembers the last few finished tasks.
    if (seen?.task === 'gone' && seen.fraction === 1) return true
    if (seen !== null && !isThere && (wasSeen || performance.now() >= arrivedBy)) return wasSeen
    wasSeen ||= isThere
    await rest(signal, client.pauseMs?.())
  }
  return wasSeen
}

interface Look extends ServerProgress {
  /** When it began, by the monotonic clock. */
  readonly at: number
  /** Milliseconds. */
  readonly took: number
}

/**
 * Decides until when an interrupt can be sent so that it surely arrives while the task runs, by the monotonic clock.
 * Before the first step a server does not estimate the end: the task counts as lasting for as long as an interrupt can
 * take once it has run without a step for that long.
 */
function createOutlastCheck (): (seen: Look) => number {
  let unbegunSince: number | null = null
  return ({ etaSeconds, at, took }) => {
    const margin = Math.max(nearlyOver, 4 * took)
    if (etaSeconds !== null) return at + etaSeconds * 1000 - margin
    unbegunSince ??= at
    return performance.now() - unbegunSince > margin ? at + took + margin : -Infinity
  }
}

/** Null if the server is too busy to answer, or the signal is aborted first. */
async function look (client: Pick<TaskControl, 'progress'>, taskId: string, signal: AbortSignal): Promise<Look | null> {
  const begin = performance.now()
  try {
    const seen = await client.progress(taskId, { signal })
    return { ...seen, at: begin, took: performance.now() - begin }
  } catch (error) {
    if (signal.aborted || (error instanceof GenerationFailure && error.code === 'answer_timeout')) return null
    throw error
  }
}

async function rest (signal: AbortSignal, milliseconds = defaultPause): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined)
}
