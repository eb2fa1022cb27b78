import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import type { Job } from './job.ts'

/** What BullMQ's queue needs of a job: the record is the truth, the queue carries its name. */
export type QueueEntry = Pick<Job, 'id' | 'run' | 'serverId' | 'lane'>

/** How jobs reach a BullMQ queue; `queues/` provides it, so that `src/` does not depend on BullMQ. */
export interface QueuePort {
  /**
   * Lua functions for scripts that change a job's record and its queue entry in one step; a script includes them by
   * `--- @external "queue-entries"`. Names of queues are without BullMQ's prefix, a name of an entry is `<job>_<run>`:
   *
   * - `addEntry(queueName, name, jobId, run, priority, delayMs)`; adding it twice is harmless
   * - `removeEntry(queueName, name)` removes it if it exists and no worker holds it
   */
  readonly entriesLua: string
}

/** The entries that go with the jobs from index `from` to `to` of a queue, by their records. */
export async function readEntries (
  redis: Redis, keys: Keys, serverId: string, from: number, to: number
): Promise<QueueEntry[]> {
  const ids = await redis.zrange(keys.key('line', serverId), String(from), String(to))
  const pipeline = redis.pipeline()
  for (const id of ids) pipeline.hmget(keys.key('job', id), 'run', 'lane')
  const replies = await pipeline.exec() ?? []
  return ids.flatMap((id, index) => {
    const [error, fields] = replies[index] ?? [null, []]
    if (error) throw error
    const [run, lane] = fields as Array<string | null>
    return run == null || lane == null ? [] : [{ id, run: Number(run), lane: Number(lane), serverId }]
  })
}
