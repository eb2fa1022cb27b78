import { setTimeout as sleep } from 'node:timers/promises'
import { type Job as QueueJob, Queue, WaitingError } from 'bullmq'
// @ts-expect-error -- BullMQ's declarations are beside the other build only
import * as bullScripts from 'bullmq/dist/cjs/scripts/index.js'
import type { Redis } from 'ioredis'
import type { Job } from '../src/jobs/job.ts'
import type { RunOutcome } from '../src/jobs/run-generation.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import { readLua } from '../src/redis/scripts.ts'
import { closeWorker, startQueueWorker } from './background-worker.ts'

/** The data of a queue entry; everything else is in the record. */
export interface GenerationData {
  readonly jobId: string
  readonly run: number
}

/** The name of a server's queue, as the dashboard shows it. */
function generationQueueName (serverId: string): string {
  return `generation-${serverId}`
}

/** The record is the truth; queues carry the names of jobs and runs. */
export type QueueEntry = Pick<Job, 'id' | 'run'>

/** The queue of the pool, which has no worker: people see there what waits. */
export const waitingQueueName = 'waiting'

export function entryId (entry: QueueEntry): string {
  return `${entry.id}_${entry.run}`
}

/** BullMQ's own scripts. It does not export them, but a test compares what ours do with `Queue.add`. */
const { addPrioritizedJob, addDelayedJob, removeJob } = bullScripts as
  Readonly<Record<'addPrioritizedJob' | 'addDelayedJob' | 'removeJob', { readonly content: string }>>

/** Lua functions for the scripts of jobs, which change a record and its queue entry in one step. */
export const entriesLua = readLua(new URL('scripts/queue-entries.lua', import.meta.url), {
  addPrioritizedJob: addPrioritizedJob.content,
  addDelayedJob: addDelayedJob.content,
  removeJob: removeJob.content
})

export interface GenerationQueues {
  /** The queue of a server, opened at first use. */
  queue (serverId: string): Queue<GenerationData>
  /** The queue of the jobs that no server has claimed. */
  waiting (): Queue<GenerationData>
  /** Pauses a server's queue; running generations continue. */
  pause (serverId: string): Promise<void>
  resume (serverId: string): Promise<void>
  /** Lifts the limits that people set in the dashboard. */
  unlimit (serverId: string): Promise<void>
  /** The entries that no longer wait in the queue, whether fetched, finished or never added. */
  notWaiting<Entry extends QueueEntry> (serverId: string, entries: readonly Entry[]): Promise<Entry[]>
  /** Deletes a server's queue and everything left in it. */
  obliterate (serverId: string): Promise<void>
  /** Every open queue. */
  open (): Array<Queue<GenerationData>>
  close (): Promise<void>
}

export interface GenerationQueuesDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
}

/**
 * One BullMQ queue per server. Every entry has our own id, so that a command repeated after a lost reply adds nothing,
 * and only one attempt: retries are new runs of the record.
 */
export function createGenerationQueues ({ connection, keys, log }: GenerationQueuesDependencies): GenerationQueues {
  /** By name. */
  const queues = new Map<string, Queue<GenerationData>>()

  const queue = (serverId: string) => named(generationQueueName(serverId))

  function named (name: string): Queue<GenerationData> {
    let found = queues.get(name)
    if (found === undefined) {
      found = new Queue<GenerationData>(name, {
        connection,
        prefix: keys.bullPrefix,
        skipVersionCheck: true,
        streams: { events: { maxLen: 1000 } }
      })
      found.on('error', error => { log.debug({ queue: name, err: error }, 'queue connection') })
      queues.set(name, found)
    }
    return found
  }

  return {
    queue,
    waiting: () => named(waitingQueueName),
    open: () => [...queues.values()],
    async pause (serverId) {
      await queue(serverId).pause()
    },
    async resume (serverId) {
      // Each call writes an event, and queues are set regularly.
      if (await queue(serverId).isPaused()) await queue(serverId).resume()
    },
    async unlimit (serverId) {
      const target = queue(serverId)
      await Promise.all([
        target.removeGlobalConcurrency(), target.removeGlobalRateLimit(), target.removeRateLimitKey()
      ])
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
        replies.slice(index * 3, index * 3 + 3).every(([error, state]) => error === null && state === null))
    },
    async obliterate (serverId) {
      const target = queue(serverId)
      queues.delete(generationQueueName(serverId))
      await target.obliterate({ force: true })
      await target.close()
    },
    async close () {
      await Promise.all([...queues.values()].map(async open => { await open.close() }))
      queues.clear()
    }
  }
}

const pauseBeforeReturn = 50
/** One job generating, one ready to be sent, two being stored: storing a small image can take longer than both. */
const atOnce = 4

export interface GenerationWorker {
  /** Runs an entry that is about to be fetched, unless as many run as can. The fetch then waits for that run. */
  runEarly (entry: GenerationData): void
  /** Takes no further job; resolves when the taken ones are done or the deadline has passed. */
  close (deadlineMs: number): Promise<void>
}

export interface GenerationWorkerDependencies {
  readonly serverId: string
  readonly connection: Redis
  readonly keys: Keys
  readonly run: (entry: GenerationData) => Promise<RunOutcome>
  readonly log: Log
}

/** Runs the entries of one server's queue. */
export function createGenerationWorker (dependencies: GenerationWorkerDependencies): GenerationWorker {
  const { serverId, connection, keys, run, log } = dependencies
  /** By the names of the entries. */
  const running = new Map<string, Promise<RunOutcome>>()
  let closed = false

  async function runOnce (entry: GenerationData): Promise<RunOutcome> {
    const name = entryId({ id: entry.jobId, run: entry.run })
    const known = running.get(name)
    if (known !== undefined) return await known
    const begun = run(entry).finally(() => { running.delete(name) })
    running.set(name, begun)
    return await begun
  }

  async function process (entry: QueueJob<GenerationData>, token?: string): Promise<void> {
    const outcome = await runOnce(entry.data)
    if (outcome === 'done') return
    // The job keeps its position, and this costs no attempt. The queue is paused or about to move to another process;
    // until then the entry would come back at once.
    await sleep(pauseBeforeReturn)
    await entry.moveToWait(token)
    throw new WaitingError()
  }

  const { worker, stopBeats } = startQueueWorker<GenerationData>({
    connection,
    keys,
    log,
    name: generationQueueName(serverId),
    atOnce,
    run: process,
    // The lock must outlive a short outage of Redis; the lease, not the lock, reveals a dead worker's jobs.
    lockSeconds: 60,
    runRetryDelay: 500
  })

  return {
    runEarly (entry) {
      if (closed || running.size >= atOnce) return
      // It runs again when it is fetched.
      runOnce(entry).catch(error => { log.error({ server: serverId, job: entry.jobId, err: error }, 'the job could not run') })
    },
    async close (deadlineMs) {
      closed = true
      await closeWorker(worker, deadlineMs, [...running.values()])
      stopBeats()
    }
  }
}
