import { Queue, UnrecoverableError, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { messageOf } from '../src/lib/errors.ts'
import { runFlorenceTask, type FlorenceRunnerDependencies } from '../src/florence/run.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Keys } from '../src/lib/keys.ts'
import { startBackgroundWorker } from './background-worker.ts'

export const florenceQueueName = 'florence'
const attempts = 4
/** Wait before the second attempt, doubled for each further one, in milliseconds. */
const backoff = 1000

export interface FlorenceQueue {
  readonly queue: Queue
  add (id: string): Promise<void>
  close (): Promise<void>
}

export interface FlorenceQueueDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
}

export function createFlorenceQueue ({ connection, keys, log }: FlorenceQueueDependencies): FlorenceQueue {
  const queue = new Queue(florenceQueueName, { connection, prefix: keys.bullPrefix, skipVersionCheck: true })
  queue.on('error', error => { log.debug({ err: error }, 'queue connection') })
  return {
    queue,
    async add (id) {
      await queue.add('ask', { id }, {
        jobId: id,
        attempts,
        backoff: { type: 'exponential', delay: backoff },
        removeOnComplete: { age: 3600, count: 200 },
        removeOnFail: { age: 86_400, count: 200 }
      })
    },
    close: async () => { await queue.close() }
  }
}

/**
 * Asks one question after another, as Florence has only one GPU; another process repeats the question of a dying one.
 */
export function createFlorenceWorker (
  dependencies: FlorenceQueueDependencies & FlorenceRunnerDependencies
): { close (): Promise<void> } {
  async function run ({ data, attemptsMade }: Job<{ id: string }>, closing: AbortSignal): Promise<void> {
    try {
      await runFlorenceTask(data.id, attemptsMade + 1 >= attempts, dependencies, closing)
    } catch (error) {
      if (attemptsMade + 1 >= attempts) throw new UnrecoverableError(messageOf(error))
      throw error
    }
  }

  const { connection, keys, log } = dependencies
  return startBackgroundWorker({ connection, keys, log, name: florenceQueueName, atOnce: 1, run })
}
