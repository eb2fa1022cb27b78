import { Queue, UnrecoverableError, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Download } from '../src/models/download.ts'
import { FinalFailure } from '../src/models/receive-download.ts'
import { discardPart, runDownload, type DownloaderDependencies } from '../src/models/run-download.ts'
import { EgressRefusal } from '../src/egress/guard.ts'
import { messageOf, ServiceError } from '../src/lib/errors.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Keys } from '../src/lib/keys.ts'
import { startBackgroundWorker } from './background-worker.ts'

export const downloadQueueName = 'downloads'
const finalErrors = [FinalFailure, EgressRefusal, ServiceError]
/** Number of concurrent downloads. */
const atOnce = 2
const attempts = 5
/** Wait before the second attempt, doubled for each further one, in milliseconds. */
const backoff = 2000

type QueuedDownload = Pick<Download, 'id' | 'round'>

export interface DownloadQueue {
  readonly queue: Queue
  /** Queues a download. */
  add (download: QueuedDownload): Promise<void>
  close (): Promise<void>
}

export interface DownloadQueueDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
}

export function createDownloadQueue ({ connection, keys, log }: DownloadQueueDependencies): DownloadQueue {
  const queue = new Queue(downloadQueueName, { connection, prefix: keys.bullPrefix, skipVersionCheck: true })
  queue.on('error', error => { log.debug({ err: error }, 'queue connection') })
  return {
    queue,
    async add ({ id, round }) {
      await queue.add('download', { id, round }, {
        attempts,
        backoff: { type: 'exponential', delay: backoff },
        removeOnComplete: { age: 3600, count: 200 },
        removeOnFail: { age: 86_400, count: 200 }
      })
    },
    close: async () => { await queue.close() }
  }
}

/** Runs downloads; another process resumes those of a dying process where they stopped. */
export function createDownloadWorker (
  dependencies: DownloadQueueDependencies & DownloaderDependencies
): { close (): Promise<void> } {
  const { connection, keys, log, store } = dependencies

  async function run (job: Job<QueuedDownload>, closing: AbortSignal): Promise<void> {
    const download = job.data
    try {
      await runDownload(download, dependencies, closing)
    } catch (error) {
      if (closing.aborted) throw error
      const problem = messageOf(error)
      const isFinal = finalErrors.some(kind => error instanceof kind) || job.attemptsMade + 1 >= attempts
      if (!isFinal) {
        await store.move(download, ['downloading'], 'pending', { problem })
        throw error
      }
      await discardPart(download, dependencies).catch(() => {}) // the folder no longer exists
      await store.move(download, ['downloading'], 'failed', { problem, endedAt: Date.now() })
      throw new UnrecoverableError(problem)
    }
  }

  return startBackgroundWorker({ connection, keys, log, name: downloadQueueName, atOnce, run })
}
