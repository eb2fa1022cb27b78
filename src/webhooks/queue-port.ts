import type { Delivery } from './delivery.ts'

/** What the queue needs to know of a delivery: the record is the truth, the queue carries its name. */
export type WebhookEntry = Pick<Delivery, 'id' | 'round'>

/** How deliveries reach a queue; `queues/` implements it, so that `src/` knows no BullMQ. */
export interface WebhookQueuePort {
  /** Adding an entry twice is harmless. */
  add (entry: WebhookEntry): Promise<void>
}
