import { DelayedError, Worker, type Job as QueueJob } from 'bullmq'
import type { Redis } from 'ioredis'
import { messageOf } from '../src/errors.ts'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { Deliverer } from '../src/webhooks/deliver.ts'
import { closeWorker } from './close-worker.ts'
import { webhookQueueName, type WebhookData } from './webhook-queue.ts'

export interface WebhookWorker {
  /** Takes no further delivery; resolves when attempts under way are over or the deadline passed. */
  close (deadlineMs: number): Promise<void>
}

export interface WebhookWorkerDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly deliverer: Deliverer
  /** Attempts at a time. */
  readonly concurrency: number
  readonly log: Log
}

/** Waits for room at an endpoint get longer, so that thousands of events for one slow receiver cost little. */
const firstWait = 250
const longestWait = 15_000

/** Hands the entries of the webhook queue to what delivers them. */
export function createWebhookWorker (dependencies: WebhookWorkerDependencies): WebhookWorker {
  const { connection, keys, deliverer, concurrency, log } = dependencies

  async function process (entry: QueueJob<WebhookData>, token?: string): Promise<void> {
    const { eventId, round, waits } = entry.data
    const next = await deliverer.attempt(eventId, round)
    if (next.kind === 'done') return
    const delay = next.kind === 'busy'
      ? Math.min(longestWait, firstWait * 2 ** waits) * (0.5 + Math.random())
      : next.delayMs
    await entry.updateData({ eventId, round, waits: next.kind === 'busy' ? Math.min(waits + 1, 20) : 0 })
    await entry.moveToDelayed(Date.now() + delay, token)
    throw new DelayedError()
  }

  const worker = new Worker<WebhookData>(webhookQueueName, process, {
    connection,
    prefix: keys.bullPrefix,
    concurrency,
    skipVersionCheck: true,
    // A worker that died loses its deliveries to others within seconds; sending one twice is harmless.
    lockDuration: 10_000,
    stalledInterval: 5000,
    maxStalledCount: 1000,
    runRetryDelay: 500
  })
  worker.on('error', error => { log.debug({ queue: webhookQueueName, error: messageOf(error) }, 'worker connection') })
  worker.on('failed', (entry, error) => {
    log.warn({ event: entry?.data.eventId, error: messageOf(error) }, 'a webhook attempt broke off; it is made again')
  })

  return {
    close: async deadlineMs => { await closeWorker(worker, deadlineMs) }
  }
}
