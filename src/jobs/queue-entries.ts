import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { Job } from './job.ts'
import type { QueueEntry, QueuePort } from './queue-port.ts'

/** How long a process may take between the record and its queue entry, in milliseconds. */
const grace = 2000
/** At most so many are seen to at once. */
const page = 500

/** The queue entries that go with the records of one store. */
export interface QueueEntries {
  /** Adds the entry of a job that a script has put in line. */
  enter (entry: QueueEntry, options?: { readonly delayMs?: number }): Promise<void>
  /** The entries that belong to the jobs from place `from` to `to` of a line. */
  between (serverId: string, from: number, to: number): Promise<QueueEntry[]>
  /** Adds the entries of jobs whose process ended before it could do so. */
  enterLate (serverId: string): Promise<void>
}

export interface QueueEntriesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly queue: QueuePort
  readonly find: (id: string) => Promise<Job | null>
}

/** Scripts change records, BullMQ changes queues: what a script expects to be added is written down until it is. */
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
        // One of the future was noted before the clock went back.
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
