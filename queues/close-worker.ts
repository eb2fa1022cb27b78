import type { RedisQueueBackend, Worker } from 'bullmq'

/**
 * Closes a BullMQ worker once what it works on is over, or gives it up when the deadline has passed: without Redis it
 * never finishes closing, and its timers and the connection on which it waits for jobs would keep the process alive.
 */
export async function closeWorker (worker: Worker, deadlineMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<'late'>(resolve => { timer = setTimeout(() => { resolve('late') }, deadlineMs) })
  const outcome = await Promise.race([worker.close(), deadline])
  clearTimeout(timer)
  if (outcome !== 'late') return
  // Of its own accord it lets go of neither: the timer that renews locks is reached by its name inside BullMQ only.
  const locks: unknown = Reflect.get(worker, 'lockManager')
  if (isClosable(locks)) locks.close().catch(() => undefined)
  const waiting = (worker.getBackend() as RedisQueueBackend).blockingClient
  waiting?.then(client => { client.disconnect(false) }, () => undefined)
}

function isClosable (value: unknown): value is { close (): Promise<void> } {
  return typeof value === 'object' && value !== null && 'close' in value && typeof value.close === 'function'
}
