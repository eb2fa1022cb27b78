import { DelayedError, type Job as QueueJob, Queue, Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Deliverer, NextStep } from '../src/webhooks/deliver.ts'
import type { Deliveries } from '../src/webhooks/deliveries.ts'
import type { NewDelivery, WebhookEntry, WebhookQueuePort } from '../src/webhooks/delivery.ts'
import type { Receiver } from '../src/webhooks/endpoints.ts'
import type { JobEventNotice } from '../src/webhooks/event-body.ts'
import type { Outbox } from '../src/webhooks/outbox.ts'
import { closeWorker, keepShortening } from './background-worker.ts'

/** All that Redis and the dashboard get to see of a delivery; everything else is in its record. */
interface WebhookData {
  readonly eventId: string
  readonly round: number
}

const webhookQueueName = 'webhooks'

export interface WebhookQueue extends WebhookQueuePort {
  readonly queue: Queue<WebhookData>
  /** Puts an entry that waits off, or forward. Nothing happens where it does not wait. */
  postpone (entry: WebhookEntry, delayMs: number): Promise<void>
  /** Takes an entry out whose delivery has ended, unless it is being worked on. */
  remove (entry: WebhookEntry): Promise<void>
  /** Adds an entry anew if the queue has lost it or given it up; whether it had. */
  restore (entry: WebhookEntry): Promise<boolean>
  close (): Promise<void>
}

/** The first round bears the event's own id, so that whatever adds it again adds nothing. */
function entryId ({ id, round }: WebhookEntry): string {
  return round === 0 ? id : `${id}_${round}`
}

const alive = new Set(['active', 'waiting', 'delayed', 'prioritized', 'waiting-children'])

/** The queue of deliveries, apart from those of generations: a slow receiver holds no server. */
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
      // Further attempts follow our own schedule, kept in the record.
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
      // One that is not waiting, or not any more, is being seen to by somebody else.
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
  /** Makes deliveries of all that is in the outbox. */
  drain (): Promise<void>
  close (): Promise<void>
}

export interface WebhookRelayDependencies {
  /** In subscriber mode, shared. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly outbox: Outbox
  readonly deliveries: Deliveries
  readonly queue: WebhookQueue
  readonly deliveryOf: (notice: JobEventNotice) => NewDelivery | null
  /** How long deliveries are remembered, in milliseconds. */
  readonly retention: number
  readonly log: Log
}

/** How often lost notices and lost queue entries are looked for, in milliseconds. */
const sweepInterval = 30_000
const page = 100

/**
 * Turns the outbox into deliveries: record, then queue entry, then the outbox entry goes. A crash between two steps
 * leaves an entry that is turned into the same delivery again. Several relays at once do the same work twice at worst.
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
      // A known delivery may lack its entry; one that has ended is recognised when its entry is worked on.
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

  /** Gives every pending delivery that the queue has lost a new entry, and forgets old ones. */
  async function sweep (): Promise<void> {
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
    work.catch(error => { log.warn({ err: error }, 'could not see to webhooks; it is tried again') })
  }

  function onMessage (from: string): void {
    if (from === channel) settle(drain())
  }

  const onReady = () => { settle(drain()) }
  subscriber.on('message', onMessage)
  subscriber.on('ready', onReady)
  await subscriber.subscribe(channel)
  let sweeping: Promise<void> = sweep()
  settle(sweeping)
  const timer = setInterval(() => {
    sweeping = sweeping.catch(() => undefined).then(sweep)
    settle(sweeping)
  }, sweepInterval)

  return {
    drain,
    async close () {
      closing.abort()
      clearInterval(timer)
      subscriber.off('message', onMessage)
      subscriber.off('ready', onReady)
      await Promise.allSettled([draining, sweeping])
    }
  }
}

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
