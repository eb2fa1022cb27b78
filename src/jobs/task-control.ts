import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'

/** How long one look at the server lies after the one before, in milliseconds. */
const pause = 250

/**
 * What to do about a generation at a server that cannot tell tasks apart: `ours` when we know that it is ours because
 * we have just sent it, `anyones` when it may be somebody else's, which is waited for and never interrupted.
 */
export type UnknownTask = 'ours' | 'anyones'

/**
 * Stops our own generation at a server and nothing else, and resolves when it is gone or the signal is aborted.
 * Interrupts only while that task runs, again and again because an interrupt that comes just before the generation
 * begins is lost; one that stands in the server's own queue cannot be withdrawn and is waited for.
 */
export async function stopTask (
  client: A1111Client, taskId: string, unknown: UnknownTask, signal: AbortSignal
): Promise<void> {
  while (!signal.aborted) {
    const { task, busy } = await client.progress(taskId)
    if (task === 'gone' || (task === 'unknown' && !busy)) return
    if (task === 'running' || (task === 'unknown' && unknown === 'ours')) await client.interrupt()
    await sleep(pause, undefined, { signal }).catch(() => undefined)
  }
}
