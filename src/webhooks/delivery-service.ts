import type { Encryptor } from '../access/secrets.ts'
import type { Deliverer } from './deliver.ts'
import type { Deliveries, DeliveryFilter } from './deliveries.ts'
import type { Delivery, WebhookQueuePort } from './delivery.ts'
import { testDelivery } from './outbox.ts'
import type { CheckedWebhook } from '../jobs/submit.ts'

/** Actions on deliveries. */
export interface DeliveryService {
  /** Sends an event again, under the same id, with a fresh schedule. */
  redeliver (delivery: Delivery): Promise<Delivery>
  /** All matching deliveries, oldest first. */
  find (filter: DeliveryFilter): Promise<Delivery[]>
  /** Sends all of them again, in that order. */
  redeliverAll (found: readonly Delivery[]): Promise<void>
  /** Sends a test event now, once, and returns its delivery; one that arrives clears the endpoint's failures. */
  test (checked: CheckedWebhook): Promise<Delivery>
  /** Sends no more of an event. */
  stop (delivery: Delivery): Promise<Delivery>
}

export interface DeliveryServiceDependencies {
  readonly deliveries: Deliveries
  readonly deliverer: Deliverer
  readonly queue: WebhookQueuePort
  readonly encryptor: Encryptor
}

const page = 200

export function createDeliveryService (dependencies: DeliveryServiceDependencies): DeliveryService {
  const { deliveries, deliverer, queue, encryptor } = dependencies

  async function redeliver ({ id }: Delivery): Promise<Delivery> {
    const round = await deliveries.renew(id)
    await queue.add({ id, round })
    return await deliveries.get(id)
  }

  return {
    redeliver,
    async find (filter) {
      const found: Delivery[] = []
      for (let offset: number | null = 0; offset !== null;) {
        const { deliveries: some, nextOffset } = await deliveries.list(filter, offset, page)
        found.push(...some)
        offset = nextOffset
      }
      return found.reverse()
    },
    async redeliverAll (found) {
      for (const delivery of found) await redeliver(delivery)
    },
    async test (checked) {
      const delivery = testDelivery(checked, encryptor, Date.now())
      await deliveries.create(delivery)
      const { next } = await deliverer.attempt(delivery.id, 0)
      if (next.kind !== 'done') {
        const reason = next.kind === 'own-fault'
          ? `this machine can open no connection (${next.code}); try again later`
          : 'the receiver is busy with other deliveries; try again later'
        await deliveries.change({ id: delivery.id, round: 0 }, { state: 'skipped', reason, nextAt: null })
      }
      return await deliveries.get(delivery.id)
    },
    async stop (delivery) {
      await deliveries.change(delivery, { state: 'skipped', reason: 'it was stopped on demand', nextAt: null })
      return await deliveries.get(delivery.id)
    }
  }
}
