import { Worker, type Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import { keepShortening } from './delays.ts'

export interface BackgroundWork<Data> {
  readonly connection: Redis
  readonly keys: Keys
  readonly log: Log
  /** Name of the queue. */
  readonly name: string
  /** Jobs that run side by side. */
  readonly atOnce: number
  /** The signal is aborted when the process is about to stop: what is left undone goes on in another one. */
  readonly run: (job: Job<Data>, closing: AbortSignal) => Promise<void>
}

/** A worker whose jobs may be broken off and taken up again as often as processes come and go. */
export function startBackgroundWorker<Data> (work: BackgroundWork<Data>): { close (): Promise<void> } {
  const { connection, keys, log, name, atOnce, run } = work
  const closing = new AbortController()
  const worker = new Worker<Data>(name, async job => { await run(job, closing.signal) }, {
    connection, prefix: keys.bullPrefix, skipVersionCheck: true, concurrency: atOnce, maxStalledCount: 1000
  })
  worker.on('error', error => { log.debug({ err: error }, 'worker connection') })
  const stopShortening = keepShortening(worker, connection, log)
  return {
    async close () {
      closing.abort()
      stopShortening()
      await worker.close(true)
    }
  }
}
