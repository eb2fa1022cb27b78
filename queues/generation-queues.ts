import { Job as QueueJob, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { ServiceError } from '../src/errors.ts'
import type { Log } from '../src/log.ts'
import { redisProblemOf } from '../src/redis/errors.ts'
import { isMissingScript, sendScriptsAgain } from '../src/redis/scripts.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { QueueEntry, QueuePort } from '../src/jobs/queue-port.ts'

/** What a queue entry carries: everything else is in the record. */
export interface GenerationData {
  readonly jobId: string
  readonly run: number
}

export const generationEntryName = 'generate'

/** The name of a server's queue, as the dashboard shows it. */
export function generationQueueName (serverId: string): string {
  return `generation-${serverId}`
}

export function entryId (entry: Pick<QueueEntry, 'id' | 'run'>): string {
  return `${entry.id}_${entry.run}`
}

export interface GenerationQueues extends QueuePort {
  /** The queue of a server, opened when it is first asked for. */
  queue (serverId: string): Queue<GenerationData>
  /** Holds back a server's line; running generations go on. */
  pause (serverId: string): Promise<void>
  resume (serverId: string): Promise<void>
  /** Those of the entries that wait in the queue no more, whether fetched, finished or never added. */
  notWaiting<Entry extends QueueEntry> (serverId: string, entries: readonly Entry[]): Promise<Entry[]>
  /** Forgets a server's queue and all that is left in it. */
  obliterate (serverId: string): Promise<void>
  /** Every queue that is open now. */
  open (): Array<Queue<GenerationData>>
  close (): Promise<void>
}

export interface GenerationQueuesDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
}

/**
 * One BullMQ queue per server. Every entry has our own id, so that a command repeated after a lost reply
 * adds nothing, and one attempt only: retries are new runs of the record.
 */
export function createGenerationQueues ({ connection, keys, log }: GenerationQueuesDependencies): GenerationQueues {
  const queues = new Map<string, Queue<GenerationData>>()

  function queue (serverId: string): Queue<GenerationData> {
    let found = queues.get(serverId)
    if (found === undefined) {
      found = new Queue<GenerationData>(generationQueueName(serverId), {
        connection,
        prefix: keys.bullPrefix,
        skipVersionCheck: true,
        streams: { events: { maxLen: 1000 } }
      })
      found.on('error', error => { log.debug({ server: serverId, err: error }, 'queue connection') })
      queues.set(serverId, found)
    }
    return found
  }

  const optionsOf = (entry: QueueEntry, delayMs = 0) => ({
    priority: entry.lane,
    attempts: 1,
    delay: delayMs,
    removeOnComplete: { age: 3600, count: 200 },
    removeOnFail: { age: 86_400, count: 200 }
  })

  return {
    queue,
    open: () => [...queues.values()],
    async transactionWith (entry) {
      const target = queue(entry.serverId)
      const client = await target.getBackend().client
      const calls: Array<readonly [name: string, args: Array<string | number>]> = []
      const options = { ...optionsOf(entry), jobId: entryId(entry) }

      async function attempt (): Promise<Array<[error: Error | null, value: unknown]>> {
        const transaction = client.multi()
        for (const [name, args] of calls) transaction.runCommand(name, args)
        await new QueueJob<GenerationData>(target, generationEntryName, { jobId: entry.id, run: entry.run }, options,
          options.jobId).addJob(transaction)
        try {
          return await transaction.exec() ?? []
        } catch (error) {
          // Nothing of it was carried out, so Redis has not got the scripts that ioredis takes for loaded now.
          sendScriptsAgain(connection)
          throw error
        }
      }

      return {
        runScript (name, scriptKeys, args) { calls.push([name, [...scriptKeys, ...args]]) },
        async commit () {
          let replies = await attempt()
          if (replies.some(([error]) => isMissingScript(error))) {
            sendScriptsAgain(connection)
            const again = await attempt()
            replies = replies.map((reply, index) => reply[0] === null ? reply : again[index] ?? reply)
          }
          const failed = replies.find(([error]) => error !== null)
          // Redis' own trouble passes by itself and is told as such.
          if (failed !== undefined && redisProblemOf(failed[0]) !== null) throw failed[0]
          if (replies.length === 0 || failed !== undefined) {
            throw new ServiceError('queue_error', 'The job could not be queued; please submit it again.', {},
              { cause: failed?.[0] })
          }
          return replies.slice(0, calls.length).map(([, value]) => value)
        }
      }
    },
    async add (entry, { delayMs = 0 } = {}) {
      await queue(entry.serverId).add(generationEntryName, { jobId: entry.id, run: entry.run },
        { ...optionsOf(entry, delayMs), jobId: entryId(entry) })
    },
    async remove (entry) {
      await queue(entry.serverId).remove(entryId(entry))
    },
    async pause (serverId) {
      await queue(serverId).pause()
    },
    async resume (serverId) {
      await queue(serverId).resume()
    },
    async notWaiting (serverId, entries) {
      const target = queue(serverId)
      const pipeline = connection.pipeline()
      for (const entry of entries) {
        pipeline.zscore(target.toKey('prioritized'), entryId(entry))
        pipeline.zscore(target.toKey('delayed'), entryId(entry))
        pipeline.lpos(target.toKey('wait'), entryId(entry))
      }
      const replies = await pipeline.exec() ?? []
      return entries.filter((_entry, index) =>
        replies.slice(index * 3, index * 3 + 3).every(([error, place]) => error === null && place === null))
    },
    async obliterate (serverId) {
      const target = queue(serverId)
      queues.delete(serverId)
      await target.obliterate({ force: true })
      await target.close()
    },
    async close () {
      await Promise.all([...queues.values()].map(async open => { await open.close() }))
      queues.clear()
    }
  }
}
