import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerProgress } from '../a1111/types.ts'
import type { TaskKnowledge } from './task-knowledge.ts'

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
