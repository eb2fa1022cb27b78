import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import type { Job } from './job.ts'

/** What BullMQ's queue needs of a job: the record is the truth, the queue carries its name. */
export type QueueEntry = Pick<Job, 'id' | 'run' | 'serverId' | 'lane'>

/** How jobs reach a BullMQ queue; `queues/` implements it, so that `src/` does not depend on BullMQ. */
export interface QueuePort {
  /**
   * Lua functions for scripts that change a job's record and its queue entry in one step; a script includes them by
   * `--- @external "queue-entries"`. Names of queues are without BullMQ's prefix, a name of an entry is `<job>_<run>`:
   *
   * - `addEntry(queueName, name, jobId, run, priority, delayMs)`; adding it twice is harmless
   * - `removeEntry(queueName, name)` removes it if it exists and no worker holds it
   */
  readonly entriesLua: string
  /** Adds the entry; adding it twice is harmless. `delayMs` delays it for that long. */
  add (entry: QueueEntry, options?: { readonly delayMs?: number }): Promise<void>
  /** Removes a waiting entry, if it exists and no worker runs it. */
  remove (entry: Pick<QueueEntry, 'id' | 'run' | 'serverId'>): Promise<void>
}

/** How long a process can take between the record and its queue entry, in milliseconds. */
const grace = 2000
/** Entries that are handled at once. */
const page = 500

/** The queue entries that go with the records of one store. */
export interface QueueEntries {
  /** Adds the entry of a job that a script has queued. */
  enter (entry: QueueEntry, options?: { readonly delayMs?: number }): Promise<void>
  /** The entries of the jobs from index `from` to `to` of a queue. */
  between (serverId: string, from: number, to: number): Promise<QueueEntry[]>
  /** Adds the entries of jobs whose process died before it could do so. */
  enterLate (serverId: string): Promise<void>
}

export interface QueueEntriesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly queue: QueuePort
  readonly find: (id: string) => Promise<Job | null>
}

/** Scripts change records, BullMQ changes queues: a script notes each entry that must be added until it is. */
export function createQueueEntries ({ redis, keys, queue, find }: QueueEntriesDependencies): QueueEntries {
  const enteringKey = (serverId: string) => keys.key('entering', serverId)
  const nameOf = ({ id, run }: Pick<QueueEntry, 'id' | 'run'>) => `${id}_${run}`

  async function enter (entry: QueueEntry, options: { readonly delayMs?: number } = {}): Promise<void> {
    await queue.add(entry, options)
    await redis.zrem(enteringKey(entry.serverId), nameOf(entry))
  }

  return {
    enter,
    async between (serverId, from, to) {
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
    },
    async enterLate (serverId) {
      const names = await redis.zrange(enteringKey(serverId), '0', String(page - 1), 'WITHSCORES')
      if (names.length === 0) return
      const [seconds, microseconds] = await redis.time()
      const now = Number(seconds) * 1000 + Number(microseconds) / 1000
      for (let index = 0; index < names.length; index += 2) {
        // A note of the future was written before the clock was set back.
        const age = now - Number(names[index + 1])
        if (age >= 0 && age < grace) return
        const name = names[index] ?? ''
        const id = name.slice(0, name.lastIndexOf('_'))
        const job = await find(id)
        const wanted = job?.status === 'pending' && job.serverId === serverId && nameOf(job) === name
        if (wanted) await enter(job)
        else await redis.zrem(enteringKey(serverId), name)
      }
    }
  }
}
