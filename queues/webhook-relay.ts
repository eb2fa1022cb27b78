import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { Deliveries } from '../src/webhooks/deliveries.ts'
import type { NewDelivery } from '../src/webhooks/delivery.ts'
import type { JobEventNotice } from '../src/webhooks/event-body.ts'
import type { Outbox } from '../src/webhooks/outbox.ts'
import type { WebhookQueue } from './webhook-queue.ts'

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
