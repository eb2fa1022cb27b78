import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { allQueues, type NamedQueue } from '../../queues/registry.ts'
import type { House } from '../../src/services/services.ts'

type Shared = Pick<House,
  'config' | 'sources' | 'runtime' | 'redis' | 'subscriber' | 'keys' | 'metrics' | 'tracing' | 'guard' | 'accessKeys' |
  'media' | 'storage' | 'uploadTexts' | 'imageUrls' | 'inputs' | 'estimates' | 'retention' |
  'queues' | 'registry' | 'states' | 'checks' | 'reach' | 'connect'>
type Models = House['models']
type Webhooks = House['webhooks']

/** What the process has opened before it serves requests. */
interface ProcessServices extends Shared {
  readonly jobStore: House['store']
  readonly jobList: House['list']
  /** Every queue that there is at the moment of asking. */
  readonly allQueues: () => readonly NamedQueue[]
  readonly catalogue: Models['catalogue']
  readonly modelDesk: Models['desk']
  readonly modelRefresher: Models['refresher']
  readonly scanBoard: Models['board']
  readonly maintenance: Models['maintenance']
  readonly downloads: Models['downloads']
  readonly civitai: Models['civitai']
  readonly civitaiPictures: Models['pictures']
  readonly webhookDesk: Webhooks['desk']
  readonly webhookOffice: Webhooks['office']
  readonly keySide: Webhooks['keySide']
  readonly deliveries: Webhooks['deliveries']
  readonly endpoints: Webhooks['endpoints']
  /** Null where no Florence is configured. */
  readonly florence: NonNullable<House['florence']>['desk'] | null
}

declare module 'fastify' {
  interface FastifyInstance extends ProcessServices {}
}

export interface ProcessOptions {
  readonly house: House
}

/** Gives the parts of the process to all plugins, each of which takes the few that it uses. */
export default fp<ProcessOptions>(async (app, { house }) => {
  const { models, webhooks } = house
  decorateAll<ProcessServices>(app, {
    config: house.config,
    sources: house.sources,
    runtime: house.runtime,
    redis: house.redis,
    subscriber: house.subscriber,
    keys: house.keys,
    metrics: house.metrics,
    tracing: house.tracing,
    guard: house.guard,
    accessKeys: house.accessKeys,
    media: house.media,
    storage: house.storage,
    uploadTexts: house.uploadTexts,
    imageUrls: house.imageUrls,
    inputs: house.inputs,
    estimates: house.estimates,
    retention: house.retention,
    queues: house.queues,
    registry: house.registry,
    states: house.states,
    checks: house.checks,
    reach: house.reach,
    connect: house.connect,
    jobStore: house.store,
    jobList: house.list,
    allQueues: () => allQueues(house),
    catalogue: models.catalogue,
    modelDesk: models.desk,
    modelRefresher: models.refresher,
    scanBoard: models.board,
    maintenance: models.maintenance,
    downloads: models.downloads,
    civitai: models.civitai,
    civitaiPictures: models.pictures,
    webhookDesk: webhooks.desk,
    webhookOffice: webhooks.office,
    keySide: webhooks.keySide,
    deliveries: webhooks.deliveries,
    endpoints: webhooks.endpoints,
    florence: house.florence?.desk ?? null
  })

  // With PORT=0 only the listener knows its port.
  app.addHook('onListen', async () => {
    const address = app.server.address()
    if (typeof address === 'object' && address !== null) house.guard.protectPort(address.port)
  })
}, { name: 'process', fastify: '5.x' })

/** Decorates the instance with every member, under its own name. */
export function decorateAll<Services extends object> (app: FastifyInstance, services: Services): void {
  for (const [name, service] of Object.entries(services)) app.decorate(name, service)
}
