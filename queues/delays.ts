import type { QueueBase, RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'
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
