import type { Redis } from 'ioredis'
import { createFlorenceQueue, createFlorenceWorker, type FlorenceQueue } from '../../queues/florence.ts'
import type { Config } from '../config/settings.ts'
import type { EgressGuard } from '../egress/guard.ts'
import type { Reach } from '../egress/rules.ts'
import { createFlorenceClient } from '../florence/run.ts'
import { createFlorenceService, florenceDelivery, type FlorenceService } from '../florence/service.ts'
import { createFlorenceStore, type FlorenceTask } from '../florence/task.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { eventLifetime, parseSchedule } from '../lib/retry-schedule.ts'
import { imageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { ImageUrls } from '../webhooks/event-body.ts'
import type { WebhookServices } from './webhooks.ts'

/** Common parts of Florence's two sides. */
interface FlorenceDependencies {
  readonly config: Config
  readonly keys: Keys
  readonly log: Log
  readonly guard: EgressGuard
  readonly webhooks: WebhookServices
}

/** The side of Florence that takes questions. */
export interface FlorenceServices {
  readonly service: FlorenceService
  readonly queue: FlorenceQueue
  close (): Promise<void>
}

/** Null where no Florence is configured. */
export function openFlorence (
  services: FlorenceDependencies & { readonly redis: Redis, readonly queueConnection: Redis }
): FlorenceServices | null {
  const { config, keys, log, redis, queueConnection, guard, webhooks } = services
  if (config.FLORENCE_URL === '') return null
  const queue = createFlorenceQueue({ connection: queueConnection, keys, log })
  const service = createFlorenceService({
    store: createFlorenceStore(redis, keys),
    guard,
    webhooks: webhooks.service,
    reachOf: reachOf(services),
    enqueue: queue.add
  })
  return { service, queue, close: queue.close }
}

/** The part of a worker process that asks Florence, if one is configured. */
export function startFlorenceWorker (
  connection: Redis, services: FlorenceDependencies & { readonly media: MediaStore, readonly imageUrls: ImageUrls }
): { close (): Promise<void> } {
  const { config, keys, log, guard, media, webhooks, imageUrls } = services
  if (config.FLORENCE_URL === '') return { close: async () => { /* nothing runs */ } }
  const linkLifetime = eventLifetime(parseSchedule(config.WEBHOOK_RETRY_SCHEDULE))

  async function onFinished (task: FlorenceTask): Promise<void> {
    const link = task.image === null || task.webhook === null
      ? null
      : imageUrls.sign(task.webhook.baseUrl, task.image, (task.endedAt ?? task.createdAt) + linkLifetime)
    const delivery = florenceDelivery(task, link)
    if (delivery === null) return
    await webhooks.deliveries.create(delivery)
    await webhooks.queue.add({ id: delivery.id, round: 0 })
  }

  return createFlorenceWorker({
    connection,
    keys,
    log,
    guard,
    media,
    onFinished,
    store: createFlorenceStore(connection, keys),
    client: createFlorenceClient(new URL(config.FLORENCE_URL)),
    limits: imageLimits(config),
    reachOf: reachOf(services)
  })
}

/** Administrators can reach the addresses that the settings open, keys those of their own reach. */
function reachOf ({ webhooks }: Pick<FlorenceDependencies, 'webhooks'>): (keyId: string | null) => Promise<Reach> {
  return async keyId => keyId === null ? 'private' : (await webhooks.signingKeys.read(keyId)).reach
}
