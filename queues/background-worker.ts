import { type Job, type QueueBase, type RedisQueueBackend, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import { loadScript } from '../src/redis/scripts.ts'

/** Entries that are looked at in one step. */
const page = 500
/** Clocks of machines differ by less than this, and it is not worth a step, in milliseconds. */
const tolerance = 1000
/** How often a queue is looked through, in milliseconds. */
const lookInterval = 5000

const findOverlong = loadScript<[delayed: string],
  [prefix: string, now: number, first: number, last: number, toleranceMs: number], [count: number, ...found: string[]]>(
  new URL('scripts/find-overlong.lua', import.meta.url))

/**
 * Has no entry wait for longer than its own delay. BullMQ writes down a moment by the clock of the process that adds an
 * entry; after that clock, or that of the process that takes it, was set back by an hour, a delay of two seconds would
 * take an hour.
 */
export async function shortenDelays (queue: QueueBase, connection: Redis): Promise<void> {
  const backend = queue.getBackend() as RedisQueueBackend
  const late: Array<[id: string, delay: number]> = []
  for (let from = 0; ; from += page) {
    const [count, ...found] = await findOverlong(connection, [queue.toKey('delayed')],
      [queue.toKey(''), Date.now(), from, from + page - 1, tolerance])
    for (let index = 0; index < found.length; index += 2) late.push([found[index] ?? '', Number(found[index + 1])])
    if (count < page) break
  }
  // One that was taken out meanwhile needs it no more.
  for (const [id, delay] of late) await backend.changeDelay(id, delay).catch(() => undefined)
}

/** Does so for as long as this process works on the queue. Answers what stops it. */
export function keepShortening (queue: QueueBase, connection: Redis, log: Log): () => void {
  let looking = false
  const timer = setInterval(() => {
    if (looking) return
    looking = true
    shortenDelays(queue, connection)
      .catch(error => { log.debug({ queue: queue.name, err: error }, 'could not look at delays') })
      .finally(() => { looking = false })
  }, lookInterval)
  return () => { clearInterval(timer) }
}

export interface BackgroundWork<Data> {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
  /** Name of the queue. */
  readonly name: string
  /** Jobs that run side by side. */
  readonly atOnce: number
  /** The signal is aborted when the process is about to stop: what is left undone goes on in another one. */
  readonly run: (job: Job<Data>, closing: AbortSignal) => Promise<void>
}

/** A worker whose jobs may be broken off and taken up again as often as processes come and go. */
export function startBackgroundWorker<Data> (work: BackgroundWork<Data>): { close (): Promise<void> } {
  const { connection, keys, log, name, atOnce, run } = work
  const closing = new AbortController()
  const worker = new Worker<Data>(name, async job => { await run(job, closing.signal) }, {
    connection, prefix: keys.bullPrefix, skipVersionCheck: true, concurrency: atOnce, maxStalledCount: 1000
  })
  worker.on('error', error => { log.debug({ err: error }, 'worker connection') })
  const stopShortening = keepShortening(worker, connection, log)
  return {
    async close () {
      closing.abort()
      stopShortening()
      await worker.close(true)
    }
  }
}

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
