import { DelayedError, Worker, type Job as QueueJob } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { Deliverer, NextStep } from '../src/webhooks/deliver.ts'
import type { Receiver } from '../src/webhooks/endpoints.ts'
import { closeWorker } from './close-worker.ts'
import { keepShortening } from './delays.ts'
import { webhookQueueName, type WebhookData, type WebhookQueue } from './webhook-queue.ts'

export interface WebhookWorker {
  /** Takes no further delivery; resolves when attempts under way are over or the deadline passed. */
  close (deadlineMs: number): Promise<void>
}

export interface WebhookWorkerDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly deliverer: Deliverer
  readonly queue: Pick<WebhookQueue, 'postpone' | 'remove'>
  /** Attempts at a time. */
  readonly concurrency: number
  readonly log: Log
}

/**
 * How long an entry waits for room at its endpoint, in milliseconds, give or take a half. Whoever leaves the endpoint
 * sees to those who wait; this is for the case that nobody leaves, because a process died.
 */
const standByWait = 20_000
/** For so long one entry sees to others that wait for the same receiver; then other receivers have their turn. */
const longestTurn = 2000

/** Hands the entries of the webhook queue to what delivers them. */
export function createWebhookWorker (dependencies: WebhookWorkerDependencies): WebhookWorker {
  const { connection, keys, deliverer, queue, concurrency, log } = dependencies

  let closing = false

  async function process (entry: QueueJob<WebhookData>, token?: string): Promise<void> {
    const { eventId, round } = entry.data
    const { next, receiver } = await deliverer.attempt(eventId, round)
    if (next.kind !== 'done') await entry.moveToDelayed(Date.now() + delayOf(next), token)
    if (next.kind !== 'busy' && receiver !== null) {
      await seeToWaiting(receiver).catch(error => {
        log.debug({ event: eventId, err: error }, 'deliveries that wait come later')
      })
    }
    if (next.kind !== 'done') throw new DelayedError()
  }

  /** Makes the attempts of deliveries that found no room; their own entries stand by until they are over. */
  async function seeToWaiting (receiver: Receiver): Promise<void> {
    const until = performance.now() + longestTurn
    for (;;) {
      const taken = closing ? null : await deliverer.following(receiver)
      if (taken === null) return
      if (performance.now() > until) return await queue.postpone(taken, 0)
      const { next } = await deliverer.attempt(taken.id, taken.round)
      if (next.kind === 'done') await queue.remove(taken)
      else await queue.postpone(taken, delayOf(next))
      if (next.kind === 'busy') return
    }
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
  worker.on('error', error => { log.debug({ queue: webhookQueueName, err: error }, 'worker connection') })
  worker.on('failed', (entry, error) => {
    log.warn({ event: entry?.data.eventId, err: error }, 'a webhook attempt broke off; it is made again')
  })

  const stopShortening = keepShortening(worker, connection, log)

  return {
    async close (deadlineMs) {
      closing = true
      stopShortening()
      await closeWorker(worker, deadlineMs)
    }
  }
}

function delayOf (next: Exclude<NextStep, { kind: 'done' }>): number {
  return next.kind === 'busy' ? standByWait * (0.5 + Math.random()) : next.delayMs
}
