import { setTimeout as sleep } from 'node:timers/promises'
import { DelayedError, WaitingError, Worker, type Job as QueueJob } from 'bullmq'
import type { Redis } from 'ioredis'
import type { RunOutcome } from '../src/jobs/run-generation.ts'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import { closeWorker } from './close-worker.ts'
import { generationQueueName, type GenerationData } from './generation-queues.ts'

const pauseBeforeReturn = 50
/** For how long a job stands back for others, in milliseconds. */
const pauseForOthers = 1000
/** One job being stored, one generating, one at the gate. */
const atOnce = 3

export interface GenerationWorker {
  /** Takes no further job; resolves when those taken are done or the deadline passed. */
  close (deadlineMs: number): Promise<void>
}

export interface GenerationWorkerDependencies {
  readonly serverId: string
  readonly connection: Redis
  readonly keys: Keys
  readonly run: (entry: GenerationData) => Promise<RunOutcome>
  readonly log: Log
}

/** Hands the entries of one server's queue to what runs them. */
export function createGenerationWorker (dependencies: GenerationWorkerDependencies): GenerationWorker {
  const { serverId, connection, keys, run, log } = dependencies

  async function process (entry: QueueJob<GenerationData>, token?: string): Promise<void> {
    const outcome = await run(entry.data)
    if (outcome === 'done') return
    if (outcome === 'later') {
      await entry.moveToDelayed(Date.now() + pauseForOthers, token)
      throw new DelayedError()
    }
    // Keeps its place and costs no attempt. The line is paused or about to be another process's; until it is, the
    // entry would come back at once.
    await sleep(pauseBeforeReturn)
    await entry.moveToWait(token)
    throw new WaitingError()
  }

  const worker = new Worker<GenerationData>(generationQueueName(serverId), process, {
    connection,
    prefix: keys.bullPrefix,
    concurrency: atOnce,
    skipVersionCheck: true,
    // The lock must outlive a short outage of Redis; a dead worker's jobs are found by the lease, not by it.
    lockDuration: 60_000,
    stalledInterval: 10_000,
    maxStalledCount: 1000,
    runRetryDelay: 500
  })
  worker.on('error', error => { log.debug({ server: serverId, err: error }, 'worker connection') })

  return {
    close: async deadlineMs => { await closeWorker(worker, deadlineMs) }
  }
}
