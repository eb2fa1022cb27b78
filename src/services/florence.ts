import type { Redis } from 'ioredis'
import { createFlorenceQueue, createFlorenceWorker } from '../../queues/florence.ts'
import type { Reach } from '../egress/rules.ts'
import { createFlorenceClient } from '../florence/run.ts'
import { createFlorenceDesk, florenceDelivery, type FlorenceDesk } from '../florence/service.ts'
import { createFlorenceStore, type FlorenceTask } from '../florence/task.ts'
import { eventLifetime, parseSchedule } from '../lib/retry-schedule.ts'
import { imageLimits } from '../media/images.ts'
import type { House } from './services.ts'

type Ground = Pick<House, 'config' | 'keys' | 'log' | 'guard' | 'webhooks'>

/** The side of Florence that takes questions. */
export interface FlorenceHouse {
  readonly desk: FlorenceDesk
  close (): Promise<void>
}

/** Null where no Florence is configured. */
export function openFlorence (house: Ground & Pick<House, 'redis'>): FlorenceHouse | null {
  const { config, keys, log, redis, guard, webhooks } = house
  if (config.FLORENCE_URL === '') return null
  const queue = createFlorenceQueue({ connection: redis, keys, log })
  const desk = createFlorenceDesk({
    store: createFlorenceStore(redis, keys), guard, webhooks: webhooks.desk, reachOf: reachOf(house), enqueue: queue.add
  })
  return { desk, close: queue.close }
}

/** The part of a worker process that asks Florence, where one is configured. */
export function startFlorenceWorker (
  connection: Redis, house: Ground & Pick<House, 'media' | 'imageUrls'>
): { close (): Promise<void> } {
  const { config, keys, log, guard, media, webhooks, imageUrls } = house
  if (config.FLORENCE_URL === '') return { close: async () => { /* nothing runs */ } }
  const linkLifetime = eventLifetime(parseSchedule(config.WEBHOOK_RETRY_SCHEDULE))

  async function tell (task: FlorenceTask): Promise<void> {
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
    tell,
    store: createFlorenceStore(connection, keys),
    client: createFlorenceClient(new URL(config.FLORENCE_URL)),
    limits: imageLimits(config),
    reachOf: reachOf(house)
  })
}

/** Administrators may reach what the settings open, keys what they may. */
function reachOf ({ webhooks }: Pick<House, 'webhooks'>): (keyId: string | null) => Promise<Reach> {
  return async keyId => keyId === null ? 'private' : (await webhooks.keySide.read(keyId)).reach
}
