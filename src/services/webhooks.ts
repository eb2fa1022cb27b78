import type { Redis } from 'ioredis'
import { createWebhookQueue, createWebhookWorker, startWebhookRelay, type WebhookQueue } from '../../queues/webhooks.ts'
import type { MasterKey, Encryptor } from '../access/secrets.ts'
import type { Config } from '../config/settings.ts'
import { createEgressGuard, type EgressGuard, hostOf, type OwnAddress, portOf } from '../egress/guard.ts'
import { ignoring } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { WebhookService } from '../jobs/submit.ts'
import type { Log } from '../lib/logging.ts'
import { eventLifetime, parseSchedule } from '../lib/retry-schedule.ts'
import { version } from '../lib/version.ts'
import { type MediaStore, wholeOutput } from '../media/store.ts'
import { parseRedisAddress } from '../redis/address.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Tracing } from '../telemetry/tracing.ts'
import { createDeliverer, type Deliverer } from '../webhooks/deliver.ts'
import { createDeliveries, type Deliveries } from '../webhooks/deliveries.ts'
import { createDeliveryService, type DeliveryService } from '../webhooks/delivery-service.ts'
import type { Delivery } from '../webhooks/delivery.ts'
import { createEndpoints, type Endpoints } from '../webhooks/endpoints.ts'
import type { ImageUrls } from '../webhooks/event-body.ts'
import { createOutbox, deliveryOf } from '../webhooks/outbox.ts'
import { createSigningKeys, type SigningKeys } from '../webhooks/signing-keys.ts'
import { createWebhookService } from '../webhooks/submission.ts'

/** The webhook side of one process, on one connection. */
export interface WebhookServices {
  readonly service: WebhookService
  readonly signingKeys: SigningKeys
  readonly deliveries: Deliveries
  readonly endpoints: Endpoints
  readonly deliverer: Deliverer
  readonly deliveryService: DeliveryService
  readonly queue: WebhookQueue
}

/** The connections that a process shares. */
export interface WebhookServicesDependencies {
  readonly config: Config
  readonly keys: Keys
  readonly log: Log
  readonly encryptor: Encryptor
  readonly masterKey: MasterKey
  readonly guard: EgressGuard
  readonly media: MediaStore
  readonly metrics: Metrics
  readonly tracing: Tracing
}

/** Time beyond the longest attempt after which its slot counts as abandoned, in milliseconds. */
const slotMargin = 5000
/** Time for receivers to answer when the service stops, in milliseconds. */
const lastAnswers = 1000
const hour = 3_600_000

/** @param queueConnection for BullMQ */
export function createWebhookServices (
  redis: Redis, queueConnection: Redis, dependencies: WebhookServicesDependencies
): WebhookServices {
  const { config, keys, log, encryptor, masterKey, guard, media, metrics, tracing } = dependencies
  const timeout = config.WEBHOOK_TIMEOUT_SECONDS * 1000
  const signingKeys = createSigningKeys({ redis, keys, encryptor, masterKey })
  const deliveries = createDeliveries(redis, keys)
  const endpoints = createEndpoints(redis, keys, {
    perKey: config.WEBHOOK_PER_KEY, perEndpoint: config.WEBHOOK_PER_ENDPOINT, slotLifetime: timeout + slotMargin
  })
  const queue = createWebhookQueue({ connection: queueConnection, keys, log })
  const deliverer = createDeliverer({
    deliveries,
    endpoints,
    signingKeys,
    encryptor,
    guard,
    schedule: parseSchedule(config.WEBHOOK_RETRY_SCHEDULE),
    timeout,
    readFile: async name => await readOutput(media, name),
    isOutdated: async delivery => await isOutdated(redis, keys, delivery),
    userAgent: `StableQueue/${version}`,
    metrics,
    tracing,
    log
  })
  return {
    service: createWebhookService({
      encryptor, guard, signingKeys, endpoints, requireHttps: config.WEBHOOK_REQUIRE_HTTPS, publicUrl: config.PUBLIC_URL
    }),
    signingKeys,
    deliveries,
    endpoints,
    deliverer,
    deliveryService: createDeliveryService({ deliveries, deliverer, queue, encryptor }),
    queue
  }
}

/** Delivers the events of all jobs, together with all other processes. */
export async function startWebhooks (
  connection: Redis, services: WebhookServicesDependencies & {
    readonly subscriber: Redis, readonly imageUrls: ImageUrls
  }
): Promise<{ close: (deadlineMs: number) => Promise<void> }> {
  const { config, keys, log, subscriber, imageUrls } = services
  const { deliveries, deliverer, queue } = createWebhookServices(connection, connection, services)
  // A little longer than an event is worth sending.
  const linkLifetime = eventLifetime(parseSchedule(config.WEBHOOK_RETRY_SCHEDULE)) + hour
  const relay = await startWebhookRelay({
    subscriber,
    keys,
    outbox: createOutbox(connection, keys),
    deliveries,
    queue,
    deliveryOf: notice => deliveryOf(notice, { imageUrls, linkLifetime }),
    retention: config.WEBHOOK_LOG_DAYS * 24 * hour,
    log
  })
  const concurrency = config.WEBHOOK_CONCURRENCY
  const worker = createWebhookWorker({ connection, keys, deliverer, queue, concurrency, log })
  return {
    async close (deadlineMs) {
      // Undelivered events stay in the outbox or the queue.
      const patience = setTimeout(deliverer.stop, Math.min(lastAnswers, deadlineMs))
      await Promise.all([relay.close(), worker.close(deadlineMs)])
      clearTimeout(patience)
      await queue.close()
    }
  }
}

/** The guard of this process: our servers, our Redis and our own port are never reachable through it. */
export function openEgress (config: Config, redisUrl: string, registry: ServerRegistry): EgressGuard {
  const redis = redisPlaces(redisUrl)
  const listener = config.PORT === 0 ? [] : [{ host: '127.0.0.1', port: config.PORT }]
  return createEgressGuard({
    settings: { profile: config.EGRESS_PROFILE, allow: config.EGRESS_ALLOW },
    places: () => [
      ...redis, ...listener, ...registry.list().map(({ address }) => placeOf(new URL(address.baseUrl)))
    ]
  })
}

function placeOf (url: URL): OwnAddress {
  return { host: hostOf(url), port: portOf(url) }
}

function redisPlaces (redisUrl: string): OwnAddress[] {
  const { options } = parseRedisAddress(redisUrl)
  const nodes = [...options.sentinels ?? [], ...(options.path === undefined ? [options] : [])]
  return nodes.flatMap(({ host, port }) => host === undefined ? [] : [{ host, port: port ?? 6379 }])
}

async function readOutput (media: MediaStore, name: string): Promise<Buffer | null> {
  return await wholeOutput(media, name).catch(ignoring('image_not_found')) ?? null
}

async function isOutdated (redis: Redis, keys: Keys, { jobId, sequence }: Delivery): Promise<boolean> {
  const [status, latest] = await redis.hmget(keys.key('job', jobId ?? ''), 'status', 'webhookSequence')
  return status !== 'processing' || Number(latest) > sequence
}
