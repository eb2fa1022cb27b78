import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import { GenerationFailure, type ServerProgress } from '../a1111/types.ts'
import { longestWay, type TaskKnowledge } from './task-knowledge.ts'

/** Tells whether what runs at a server is one generation of ours, also where the server knows no tasks. */
export interface TaskRecogniser {
  /** To be called right before the generation is sent. */
  before (): Promise<void>
  /** To be called when it is on its way. */
  sent (): void
  isOurs (seen: ServerProgress): boolean
}

/** The request is at the server and has begun by then, if nothing was in front of it, in milliseconds. */
const begunAfter = 100

/**
 * A server started with --nowebui, or one that was not seen to know a task of ours yet, shows that something runs, not
 * what. What runs is ours only if nothing did when we sent it, and for as long as it is still what began then: while
 * our answer is being written, the server is at work on the next request already, be it ours or not. In doubt it is
 * not ours.
 * @param onMark called once, with what the generation is recognised by
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
      if (tasks.tellsApart()) return
      wasIdle = await tasks.progress(null).then(({ busy }) => !busy, () => false)
    },
    sent () {
      if (!wasIdle) return
      sleep(begunAfter, undefined, { signal: over })
        .then(async () => { isOurs(await tasks.progress(taskId, { signal: over })) })
        .catch(() => undefined) // a cancel looks for itself
    },
    isOurs
  }
}

const defaultPause = 250
/**
 * A generation that ends within this, or within four times what a look takes, is left to end, in milliseconds: there is
 * no way to interrupt one task only, so an interrupt that comes too late hits whatever A1111 does next.
 */
const nearlyOver = 500
/** What is needed of a server to stop a task there. */
export interface TaskControl extends Pick<TaskKnowledge, 'progress'> {
  /** Milliseconds between two looks; a quarter of a second where nothing is said. */
  readonly pauseMs?: () => number
  /**
   * Interrupts whatever the server generates, unless it is uncertain that this process serves it: that may be another
   * process's by now. False where it certainly does not.
   */
  interrupt (signal: AbortSignal): Promise<boolean>
}

/**
 * The interrupts of one process, each of which is preceded by a look at its lease: one that was frozen for a while
 * would otherwise interrupt what the process that took over has sent.
 */
export function createTaskControl (
  client: Pick<A1111Client, 'interrupt' | 'progress'>, holdsLease: () => Promise<boolean>, pauseMs = () => defaultPause
): TaskControl {
  return {
    progress: client.progress,
    pauseMs,
    async interrupt (signal) {
      // Redis may be away for a moment; the caller comes back.
      const holds = await holdsLease().catch(() => null)
      if (holds === true && !signal.aborted) await client.interrupt()
      return holds !== false
    }
  }
}

/**
 * Stops the generation whose answer we are waiting for, and nothing else, until the signal is aborted because the
 * answer is there. Interrupts only while that task runs: again and again, since an interrupt that comes just before
 * the generation begins is lost, and also after the server did not know the task, since it may not know it yet. One
 * that stands in the server's own queue cannot be withdrawn and is stopped once it runs.
 */
export async function stopOpenTask (
  client: TaskControl, taskId: string, isOurs: TaskRecogniser['isOurs'], signal: AbortSignal
): Promise<void> {
  const lasts = createForesight()
  while (!signal.aborted) {
    const seen = await look(client, taskId, signal)
    if (signal.aborted) return
    if (seen !== null && isOurs(seen) && lasts(seen) && !await client.interrupt(signal)) return
    await rest(signal, client.pauseMs?.())
  }
}

/** What is known of a generation that nobody waits for any more. */
export interface Orphan {
  /** Milliseconds since the epoch; one that was sent just now may be unknown because it has yet to arrive. */
  readonly sentAt?: number
  /**
   * Whether it was left without an answer, so that it is still in the server's own queue if the server says so. A1111
   * says the same for ever of a task that failed before its start; where it is not known what was answered, that is
   * told by nothing being under way.
   */
  readonly answer: 'none' | 'unknown'
  /** What it is recognised by where the server does not tell tasks apart; absent or null where it never was. */
  readonly mark?: string | null
}

/** How long something that cannot be told from others may stand still at a server, in milliseconds. */
const longestStandstill = 120_000

/**
 * Stops a generation whose answer nobody waits for any more, and resolves when the server is rid of it or the signal
 * is aborted. Where tasks cannot be told apart, it is interrupted if it can be recognised; what else runs may be ours
 * or somebody else's, and is waited for until it is over or does not move any more.
 */
export async function stopOrphanedTask (
  client: TaskControl, taskId: string, { sentAt = 0, answer, mark = null }: Orphan, signal: AbortSignal
): Promise<void> {
  const arrivedBy = performance.now() + Math.min(0, sentAt - Date.now()) + longestWay
  const lasts = createForesight()
  const stands = createStandstill()
  let idleLooks = 0
  while (!signal.aborted) {
    const seen = await look(client, taskId, signal)
    if (seen !== null) {
      const isUnknown = seen.task === 'unknown'
      idleLooks = seen.busy ? 0 : idleLooks + 1
      const isQueued = seen.task === 'queued' && answer === 'none'
      const isAnothers = isUnknown && mark !== null && seen.busy && seen.mark !== null && seen.mark !== mark
      // Some servers seem idle for a moment between two stages of one generation.
      const isIdle = idleLooks >= (isUnknown ? 2 : 1) && !isQueued
      const isOver = seen.task === 'gone' || isIdle || isAnothers
      if (isOver && performance.now() >= arrivedBy) return
      if (isUnknown && stands(seen)) return
      const isOurs = seen.task === 'running' || (isUnknown && mark !== null && seen.busy && seen.mark === mark)
      if (isOurs && lasts(seen) && !await client.interrupt(signal)) return
    }
    await rest(signal, client.pauseMs?.())
  }
}

/** Tells of what was seen whether it has not moved for so long that it never will. */
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
 * Resolves when a generation of ours whose connection is gone is over, or the signal is aborted. Interrupts nothing.
 * @param task `arrivesIn`: milliseconds within which it may still turn up
 * @returns whether it was seen at the server at all
 * @throws GenerationFailure when the server does not answer any more
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
    // A1111 remembers the last few that it has finished.
    if (seen?.task === 'gone' && seen.fraction === 1) return true
    if (seen !== null && !isThere && (wasSeen || performance.now() >= arrivedBy)) return wasSeen
    wasSeen ||= isThere
    await rest(signal, client.pauseMs?.())
  }
  return wasSeen
}

interface Look extends ServerProgress {
  /** Milliseconds. */
  readonly took: number
}

/**
 * Tells of what was seen running whether it surely lasts until an interrupt gets there. Before its first step a server
 * makes no guess at its end: it lasts then if it has stood there for as long as an interrupt may take.
 */
function createForesight (): (seen: Look) => boolean {
  let unbegunSince: number | null = null
  return ({ etaSeconds, took }) => {
    const margin = Math.max(nearlyOver, 4 * took)
    if (etaSeconds !== null) return etaSeconds * 1000 > margin
    unbegunSince ??= performance.now()
    return performance.now() - unbegunSince > margin
  }
}

/** Null where the server is too busy to tell, or the signal came first. */
async function look (client: Pick<TaskControl, 'progress'>, taskId: string, signal: AbortSignal): Promise<Look | null> {
  const begin = performance.now()
  try {
    const seen = await client.progress(taskId, { signal })
    return { ...seen, took: performance.now() - begin }
  } catch (error) {
    if (signal.aborted || (error instanceof GenerationFailure && error.code === 'answer_timeout')) return null
    throw error
  }
}

async function rest (signal: AbortSignal, milliseconds = defaultPause): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => undefined)
}
