import { DelayedError, type Job as QueueJob, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { repeatEach } from '../src/lib/beat.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Deliverer, NextStep } from '../src/webhooks/deliver.ts'
import type { Deliveries } from '../src/webhooks/deliveries.ts'
import type { NewDelivery, WebhookEntry, WebhookQueuePort } from '../src/webhooks/delivery.ts'
import type { Receiver } from '../src/webhooks/endpoints.ts'
import type { JobEventNotice } from '../src/webhooks/event-body.ts'
import type { Outbox } from '../src/webhooks/outbox.ts'
import { closeWorker, keepShortening, startQueueWorker } from './background-worker.ts'

/** The part of a delivery that Redis and the dashboard see in the queue; everything else is in its record. */
interface WebhookData {
  readonly eventId: string
  readonly round: number
}

const webhookQueueName = 'webhooks'

export interface WebhookQueue extends WebhookQueuePort {
  readonly queue: Queue<WebhookData>
  /** Delays a waiting entry, or brings it forward. Does nothing if it does not wait. */
  postpone (entry: WebhookEntry, delayMs: number): Promise<void>
  /** Removes the entry of a finished delivery, unless a worker runs it. */
  remove (entry: WebhookEntry): Promise<void>
  /** Adds an entry again if the queue has lost or abandoned it; returns whether it had. */
  restore (entry: WebhookEntry): Promise<boolean>
  close (): Promise<void>
}

/** The first round has the event's own id, so that adding it again adds nothing. */
function entryId ({ id, round }: WebhookEntry): string {
  return round === 0 ? id : `${id}_${round}`
}

const alive = new Set(['active', 'waiting', 'delayed', 'prioritized', 'waiting-children'])

/** The queue of deliveries, apart from those of generations: a slow receiver delays no server. */
export function createWebhookQueue (
  { connection, keys, log }: { readonly connection: Redis, readonly keys: Keys, readonly log: Log }
): WebhookQueue {
  const queue = new Queue<WebhookData>(webhookQueueName, {
    connection,
    prefix: keys.bullPrefix,
    skipVersionCheck: true,
    streams: { events: { maxLen: 1000 } }
  })
  queue.on('error', error => { log.debug({ queue: webhookQueueName, err: error }, 'queue connection') })

  async function add (entry: WebhookEntry): Promise<void> {
    await queue.add('deliver', { eventId: entry.id, round: entry.round }, {
      jobId: entryId(entry),
      // Further attempts follow our own schedule, stored in the record.
      attempts: 1,
      removeOnComplete: { age: 3600, count: 500 },
      removeOnFail: { age: 86_400, count: 500 }
    })
  }

  return {
    queue,
    add,
    async postpone (entry, delayMs) {
      const found = await queue.getJob(entryId(entry))
      // If it does not wait, or no longer waits, another worker handles it.
      if (await found?.isDelayed()) await found?.changeDelay(delayMs).catch(() => {})
    },
    async remove (entry) {
      await queue.remove(entryId(entry))
    },
    async restore (entry) {
      const found = await queue.getJob(entryId(entry))
      if (found !== undefined && alive.has(await found.getState())) return false
      await found?.remove()
      await add(entry)
      return true
    },
    async close () {
      await queue.close()
    }
  }
}

export interface WebhookRelay {
  /** Turns everything in the outbox into deliveries. */
  drain (): Promise<void>
  close (): Promise<void>
}

export interface WebhookRelayDependencies {
  /** A shared connection in subscriber mode. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly outbox: Outbox
  readonly deliveries: Deliveries
  readonly queue: WebhookQueue
  readonly deliveryOf: (notice: JobEventNotice) => NewDelivery | null
  /** How long deliveries are kept, in milliseconds. */
  readonly retention: number
  readonly log: Log
}

/** How often to look for lost notices and lost queue entries, in seconds. */
const recheckSeconds = 30
const page = 100

/**
 * Turns the outbox into deliveries: record, then queue entry, then it removes the outbox entry. A crash between two
 * steps leaves an entry that becomes the same delivery again. Several relays at once at worst do the same work twice.
 */
export async function startWebhookRelay (dependencies: WebhookRelayDependencies): Promise<WebhookRelay> {
  const { subscriber, keys, outbox, deliveries, queue, deliveryOf, retention, log } = dependencies
  const channel = keys.channel('webhooks')
  const closing = new AbortController()
  let draining: Promise<void> | null = null
  let again = false

  async function relay (entryId: string, notice: JobEventNotice | null): Promise<void> {
    const delivery = notice === null ? null : deliveryOf(notice)
    if (delivery !== null) {
      const created = await deliveries.create(delivery)
      const round = created ? 0 : (await deliveries.find(delivery.id))?.round ?? 0
      // A known delivery can lack its entry; a finished one is recognised when a worker runs its entry.
      await queue.add({ id: delivery.id, round })
    }
    await outbox.remove(entryId)
  }

  async function drainAll (): Promise<void> {
    do {
      again = false
      const entries = await outbox.read(page)
      for (const { entryId, notice } of entries) await relay(entryId, notice)
      again ||= entries.length === page
    } while (again && !closing.signal.aborted)
  }

  function drain (): Promise<void> {
    again = true
    draining ??= drainAll().finally(() => { draining = null })
    return draining
  }

  /** Gives a new entry to every pending delivery that the queue has lost, and deletes old ones. */
  async function recheck (): Promise<void> {
    await drain()
    for (let offset = 0; !closing.signal.aborted; offset += page) {
      const ids = await deliveries.pending(offset, page)
      for (const delivery of await deliveries.readMany(ids)) {
        if (await queue.restore(delivery)) log.warn({ event: delivery.id }, 'the delivery had lost its queue entry')
      }
      if (ids.length < page) break
    }
    await deliveries.forgetBefore(Date.now() - retention)
  }

  function settle (work: Promise<void>): void {
    work.catch(error => { log.warn({ err: error }, 'could not turn events into deliveries; trying again') })
  }

  function onMessage (from: string): void {
    if (from === channel) settle(drain())
  }

  const onReady = () => { settle(drain()) }
  subscriber.on('message', onMessage)
  subscriber.on('ready', onReady)
  await subscriber.subscribe(channel)
  let rechecking: Promise<void> = recheck()
  settle(rechecking)
  const stopRechecks = repeatEach(recheckSeconds, () => {
    rechecking = rechecking.catch(() => undefined).then(recheck)
    settle(rechecking)
  })

  return {
    drain,
    async close () {
      closing.abort()
      stopRechecks()
      subscriber.off('message', onMessage)
      subscriber.off('ready', onReady)
      await Promise.allSettled([draining, rechecking])
    }
  }
}

export interface WebhookWorker {
  /** Takes no further delivery; resolves when running attempts are over or the deadline has passed. */
  close (deadlineMs: number): Promise<void>
}

export interface WebhookWorkerDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly deliverer: Deliverer
  readonly queue: Pick<WebhookQueue, 'postpone' | 'remove'>
  /** Number of concurrent attempts. */
  readonly concurrency: number
  readonly log: Log
}

/**
 * How long an entry waits for a free slot at its endpoint, in milliseconds, plus or minus a half. Normally a finished
 * delivery makes the attempts of the waiting ones; this covers the case that none finishes because a process died.
 */
const slotWait = 20_000
/**
 * How long one entry handles others that wait for the same receiver, before other receivers are served; in
 * milliseconds.
 */
const maxFollowing = 2000

/** Delivers the entries of the webhook queue. */
export function createWebhookWorker (dependencies: WebhookWorkerDependencies): WebhookWorker {
  const { connection, keys, deliverer, queue, concurrency, log } = dependencies

  let closing = false

  async function process (entry: QueueJob<WebhookData>, token?: string): Promise<void> {
    const { eventId, round } = entry.data
    const { next, receiver } = await deliverer.attempt(eventId, round)
    if (next.kind !== 'done') await entry.moveToDelayed(Date.now() + delayOf(next), token)
    if (next.kind !== 'busy' && receiver !== null) {
      await deliverWaiting(receiver).catch(error => {
        log.debug({ event: eventId, err: error }, 'deliveries that wait come later')
      })
    }
    if (next.kind !== 'done') throw new DelayedError()
  }

  /** Makes the attempts of deliveries that found no free slot; their own entries are the fallback. */
  async function deliverWaiting (receiver: Receiver): Promise<void> {
    const until = performance.now() + maxFollowing
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

  const { worker, stopBeats } = startQueueWorker<WebhookData>({
    connection,
    keys,
    log,
    name: webhookQueueName,
    atOnce: concurrency,
    run: process,
    // Others take over the deliveries of a dead worker within seconds; sending one twice is harmless.
    lockSeconds: 10,
    stalledSeconds: 5,
    runRetryDelay: 500
  })
  worker.on('failed', (entry, error) => {
    log.warn({ event: entry?.data.eventId, err: error }, 'a webhook attempt broke off; it is repeated')
  })
  const stopShortening = keepShortening(worker, connection, log)

  return {
    async close (deadlineMs) {
      closing = true
      stopShortening()
      await closeWorker(worker, deadlineMs)
      stopBeats()
    }
  }
}

function delayOf (next: Exclude<NextStep, { kind: 'done' }>): number {
  return next.kind === 'busy' ? slotWait * (0.5 + Math.random()) : next.delayMs
}
