import type { QueueBase, RedisQueueBackend } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'

/** Entries that are looked at in one step. */
const page = 500
/** Clocks of machines differ by less than this, and it is not worth a step, in milliseconds. */
const tolerance = 1000
/** How often a queue is looked through, in milliseconds. */
const lookInterval = 5000

// KEYS: delayed entries. ARGV: beginning of their names, now, first and last rank. Answers how many there were, then
// the id and the delay of each that is due later than its whole delay from now. Scores are moments times 4096.
const findOverlong = /* lua */ `
local entries = redis.call('ZREVRANGE', KEYS[1], ARGV[3], ARGV[4], 'WITHSCORES')
local answer = { #entries / 2 }
for i = 1, #entries, 2 do
  local delay = tonumber(redis.call('HGET', ARGV[1] .. entries[i], 'delay') or '')
  local left = tonumber(entries[i + 1]) / 4096 - tonumber(ARGV[2])
  if delay and left > delay + ${tolerance} then
    answer[#answer + 1] = entries[i]
    answer[#answer + 1] = tostring(delay)
  end
end
return answer
`

/**
 * Has no entry wait for longer than its own delay. BullMQ writes down a moment by the clock of the process that adds an
 * entry; after that clock, or that of the process that takes it, was set back by an hour, a delay of two seconds would
 * take an hour.
 */
export async function shortenDelays (queue: QueueBase, connection: Redis): Promise<void> {
  const backend = queue.getBackend() as RedisQueueBackend
  const late: Array<[id: string, delay: number]> = []
  for (let from = 0; ; from += page) {
    const [count, ...found] = await connection.eval(findOverlong, 1, queue.toKey('delayed'),
      queue.toKey(''), Date.now(), from, from + page - 1) as [number, ...string[]]
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
