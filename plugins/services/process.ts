import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { allQueues, type NamedQueue } from '../../queues/registry.ts'
import type { Services } from '../../src/services/services.ts'

type Shared = Pick<Services,
  'config' | 'sources' | 'runtime' | 'redis' | 'subscriber' | 'keys' | 'metrics' | 'tracing' | 'guard' | 'accessKeys' |
  'media' | 'coming' | 'bucket' | 'storage' | 'uploadTexts' | 'imageUrls' | 'inputs' | 'estimates' | 'retention' |
  'queues' | 'registry' | 'states' | 'checks' | 'reach' | 'connect'>
type Models = Services['models']
type Webhooks = Services['webhooks']

/** Parts of the process that are open before it serves requests. */
interface ProcessServices extends Shared {
  readonly jobStore: Services['store']
  readonly claims: Services['claims']
  readonly jobList: Services['list']
  /** All present queues. */
  readonly allQueues: () => readonly NamedQueue[]
  readonly catalogue: Models['catalogue']
  readonly modelService: Models['service']
  readonly modelRefresher: Models['refresher']
  readonly scanStatus: Models['scanStatus']
  readonly maintenance: Models['maintenance']
  readonly downloads: Models['downloads']
  readonly civitai: Models['civitai']
  readonly civitaiImages: Models['images']
  readonly webhookService: Webhooks['service']
  readonly deliveryService: Webhooks['deliveryService']
  readonly signingKeys: Webhooks['signingKeys']
  readonly deliveries: Webhooks['deliveries']
  readonly endpoints: Webhooks['endpoints']
  /** Null if no Florence is configured. */
  readonly florence: NonNullable<Services['florence']>['service'] | null
}

declare module 'fastify' {
  interface FastifyInstance extends ProcessServices {}
}

export interface ProcessOptions {
  readonly services: Services
}

/** Gives the parts of the process to all plugins, each of which takes the few that it uses. */
export default fp<ProcessOptions>(async (app, { services }) => {
  const { models, webhooks } = services
  decorateAll<ProcessServices>(app, {
    config: services.config,
    sources: services.sources,
    runtime: services.runtime,
    redis: services.redis,
    subscriber: services.subscriber,
    keys: services.keys,
    metrics: services.metrics,
    tracing: services.tracing,
    guard: services.guard,
    accessKeys: services.accessKeys,
    media: services.media,
    coming: services.coming,
    bucket: services.bucket,
    storage: services.storage,
    uploadTexts: services.uploadTexts,
    imageUrls: services.imageUrls,
    inputs: services.inputs,
    estimates: services.estimates,
    retention: services.retention,
    queues: services.queues,
    registry: services.registry,
    states: services.states,
    checks: services.checks,
    reach: services.reach,
    connect: services.connect,
    jobStore: services.store,
    claims: services.claims,
    jobList: services.list,
    allQueues: () => allQueues(services),
    catalogue: models.catalogue,
    modelService: models.service,
    modelRefresher: models.refresher,
    scanStatus: models.scanStatus,
    maintenance: models.maintenance,
    downloads: models.downloads,
    civitai: models.civitai,
    civitaiImages: models.images,
    webhookService: webhooks.service,
    deliveryService: webhooks.deliveryService,
    signingKeys: webhooks.signingKeys,
    deliveries: webhooks.deliveries,
    endpoints: webhooks.endpoints,
    florence: services.florence?.service ?? null
  })

  // With PORT=0 only the listener knows its port.
  app.addHook('onListen', async () => {
    const address = app.server.address()
    if (typeof address === 'object' && address !== null) services.guard.protectPort(address.port)
  })
}, { name: 'process', fastify: '5.x' })

/** Decorates the instance with every member, under its own name. */
export function decorateAll<Services extends object> (app: FastifyInstance, services: Services): void {
  for (const [name, service] of Object.entries(services)) app.decorate(name, service)
}
