import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import type { ServerProgress } from '../a1111/types.ts'

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
 * A server started with --nowebui shows that something runs, not what. What runs is ours only if nothing did when we
 * sent it, and for as long as it is still what began then: while our answer is being written, the server is at work on
 * the next request already, be it ours or not. In doubt it is not ours.
 * @param tasks whether the server tells tasks apart
 */
export function createTaskRecogniser (
  client: A1111Client, tasks: 'told apart' | 'alike', over: AbortSignal
): TaskRecogniser {
  let wasIdle = false
  let own: string | null = null

  function isOurs ({ task, busy, mark }: ServerProgress): boolean {
    if (task !== 'unknown') return task === 'running'
    if (!busy || !wasIdle) return false
    own ??= mark
    return own !== null && own === mark
  }

  return {
    async before () {
      if (tasks === 'told apart') return
      wasIdle = await client.progress(null).then(({ busy }) => !busy, () => false)
    },
    sent () {
      if (!wasIdle) return
      sleep(begunAfter, undefined, { signal: over })
        .then(async () => { isOurs(await client.progress(null, { signal: over })) })
        .catch(() => undefined) // a cancel looks for itself
    },
    isOurs
  }
}
