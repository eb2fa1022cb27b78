import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { createGenerationQueues, entriesLua, type GenerationQueues } from '../../queues/generation-queue.ts'
import { type A1111Client, createA1111Client } from '../a1111/client.ts'
import { type AccessKeys, createAccessKeys } from '../access/keys.ts'
import { checkMasterKey, createEncryptor, deriveKey, loadMasterKey, type MasterKey, type Encryptor } from '../access/secrets.ts'
import { createRuntimeSettings, type RuntimeSettings, type RuntimeValues } from '../config/runtime-settings.ts'
import type { Config } from '../config/settings.ts'
import { type SettingSources, sourcesOf } from '../config/sources.ts'
import type { EgressGuard } from '../egress/guard.ts'
import { createEventPublisher } from '../events/event.ts'
import { createEstimates, type Estimates } from '../jobs/estimates.ts'
import { createJobList, type JobList } from '../jobs/list.ts'
import { installationOf } from '../jobs/media-sweep.ts'
import { createRetention, type Retention, type RetentionRules } from '../jobs/retention.ts'
import { createJobClaims, type JobClaims, type PoolDial } from '../jobs/claims.ts'
import { type ComingJobs, createComingJobs } from '../jobs/coming-jobs.ts'
import { loadQueueScripts } from '../jobs/scripts/index.ts'
import { createJobStore, type JobStore } from '../jobs/store.ts'
import { createInputImages, type InputImages } from '../jobs/input-images.ts'
import { createKeys, type Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { imageLimits } from '../media/images.ts'
import type { Bucket } from '../media/bucket.ts'
import { readSharedFault } from '../media/shared-faults.ts'
import { createStorageCheck, type StorageCheck } from '../media/storage.ts'
import { type StorageFault, storageFaultOf } from '../media/storage-fault.ts'
import { createMediaStore, mediaFolders, type MediaFolder, type MediaStore } from '../media/store.ts'
import { createUploadTexts, type UploadTexts } from '../media/uploads.ts'
import { requireFitRedis, requireKnownFormat, watchInstallation } from '../redis/check.ts'
import { connectRedis } from '../redis/connections.ts'
import { type CheckStore, createCheckStore } from '../server-check/check-service.ts'
import { createServerReach, type ServerReach } from '../servers/address.ts'
import { createServerRegistry, type Server, type ServerRegistry } from '../servers/registry.ts'
import { createServerStarts, type ServerStarts } from '../servers/start-guard.ts'
import { createStartNotes, withLocalNotes } from '../servers/start-notes.ts'
import {
  createServerStateStore, createStateCopies, type ServerStateStore, type StateCopies
} from '../servers/state-store.ts'
import { createMetrics, type Metrics } from '../telemetry/metrics.ts'
import { noTracing, type Tracing } from '../telemetry/tracing.ts'
import { createImageUrls, type ImageUrls } from '../webhooks/event-body.ts'
import { type FlorenceServices, openFlorence } from './florence.ts'
import { createModelServices, type ModelServices } from './models.ts'
import { createWebhookServices, openEgress, type WebhookServices } from './webhooks.ts'

/** The common parts of every process, whether it serves requests, runs jobs or both. */
export interface Services {
  readonly config: Config
  /** Source of each setting. */
  readonly sources: SettingSources
  /** Settings that operators change while the service runs. */
  readonly runtime: RuntimeSettings
  readonly log: Log
  readonly keys: Keys
  /** Fails fast, for requests. */
  readonly redis: Redis
  /** In subscriber mode. */
  readonly subscriber: Redis
  readonly redisUrl: string
  readonly queues: GenerationQueues
  readonly store: JobStore
  readonly list: JobList
  /** Expected start and end of jobs, and the amount of work before each server. */
  readonly estimates: Estimates
  readonly media: MediaStore
  /** The bucket of MEDIA_URL; null if media are in DATA_DIR. */
  readonly bucket: Bucket | null
  /** Whether files can be stored. */
  readonly storage: StorageCheck
  readonly claims: JobClaims
  readonly coming: ComingJobs
  readonly inputs: InputImages
  readonly uploadTexts: UploadTexts
  readonly retention: Retention
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  /** What this process has read of servers, over any connection. */
  readonly stateCopies: StateCopies
  /** Thorough checks of servers. */
  readonly checks: CheckStore
  readonly models: ModelServices
  /** Null where no Florence is configured. */
  readonly florence: FlorenceServices | null
  readonly accessKeys: AccessKeys
  readonly masterKey: MasterKey
  readonly encryptor: Encryptor
  /** The only way to addresses that clients chose. */
  readonly guard: EgressGuard
  readonly imageUrls: ImageUrls
  readonly webhooks: WebhookServices
  /** Metrics of this process. */
  readonly metrics: Metrics
  readonly tracing: Tracing
  /** Names this process among all that share the Redis. */
  readonly processId: string
  /** Addresses of servers. */
  readonly reach: ServerReach
  /** Servers that are away or starting, and get no request. */
  readonly starts: ServerStarts
  readonly connect: (server: Pick<Server, 'address'>) => A1111Client
  close (): Promise<void>
}

/**
 * Opens the connections and creates the parts.
 * @throws Error with a sentence for people if Redis cannot be reached or the master key is another
 */
/** The dial of the pool, by the settings. */
export function poolDial (
  { QUEUE_PATIENCE, QUEUE_LIGHT_PATIENCE, QUEUE_LIGHT_JOBS }: Pick<Config, 'QUEUE_PATIENCE' | 'QUEUE_LIGHT_PATIENCE' | 'QUEUE_LIGHT_JOBS'>
): PoolDial {
  return { patience: QUEUE_PATIENCE, lightPatience: QUEUE_LIGHT_PATIENCE, lightJobs: QUEUE_LIGHT_JOBS }
}

export async function openServices (
  config: Config, redisUrl: string, log: Log, sources: SettingSources = sourcesOf({})
): Promise<Services> {
  const keys = createKeys(config.REDIS_PREFIX)
  const redis = await connectRedis(redisUrl, 'request', log, undefined, config.REDIS_TIMEOUT_SECONDS * 1000)
  const queueConnection = await connectRedis(redisUrl, 'queue', log, undefined, config.REDIS_TIMEOUT_SECONDS * 1000)
  const subscriber = await connectRedis(redisUrl, 'subscriber', log)
  let bucketToClose: Bucket | null = null
  try {
    await requireFitRedis(redis, keys, log)
    await requireKnownFormat(redis, keys)
    const masterKey = await loadMasterKey(config)
    await checkMasterKey(redis, keys, masterKey)
    const { media, bucket, check } = await openMedia(config)
    bucketToClose = bucket
    const mark = await media.readSweepMark().catch(error => {
      if (storageFaultOf(error) === null) throw error
      log.warn({ err: error }, 'it is not known whether the media belong to this Redis')
      return null
    })
    await watchInstallation({ redis, keys, log, expected: mark === null ? null : installationOf(mark) })
    const processId = randomUUID()
    const { inputs: inputFolder, outputs } = mediaFolders(config.DATA_DIR)
    const storage = createStorageCheck({
      folders: { outputs, inputs: inputFolder },
      ...(check === null ? {} : { bucket: check }),
      minFree: config.STORAGE_MIN_FREE_MIB * 1_048_576,
      interval: config.STORAGE_CHECK_SECONDS * 1000,
      others: async () => await readSharedFault({ redis, keys, processId, bucket }),
      log
    })
    const queues = createGenerationQueues({ connection: queueConnection, keys, log })
    const pool = { redis, keys, queueEntries: entriesLua, dial: poolDial(config) }
    const claims = createJobClaims(pool)
    const store = createJobStore({
      ...pool,
      commandLimit: config.REDIS_TIMEOUT_SECONDS * 1000,
      waitingPerKey: config.QUEUE_LIMIT_PER_KEY
    })
    const accessKeys = await createAccessKeys({
      redis, subscriber, keys, masterKey, defaultRatePerMinute: config.RATE_LIMIT_PER_MINUTE
    })
    const encryptor = createEncryptor(masterKey)
    const reach = createServerReach(config.SERVERS_ALLOW)
    const starts = createServerStarts({
      notes: withLocalNotes(createStartNotes(redis, keys), notesPatience),
      waitMs: config.SERVER_START_SECONDS * 1000,
      resolve: reach.resolve,
      log
    })
    const registry = createServerRegistry({ redis, keys, encryptor })
    await registry.refresh()
    const publish = createEventPublisher(redis, keys)
    const runtime = createRuntimeSettings({
      redis, keys, publish: async kind => { await publish(kind, null) }, initial: initialValues(config)
    })
    await runtime.refresh()
    const guard = openEgress(config, redisUrl, registry)
    const metrics = createMetrics(storage, () => registry.list().map(({ alias }) => alias))
    const tracing = await openTracing(config)
    const webhooks = createWebhookServices(redis, queueConnection, {
      config, keys, log, encryptor, masterKey, guard, media, metrics, tracing
    })
    const stateCopies = createStateCopies()
    const states = createServerStateStore(redis, keys, stateCopies)
    const models = createModelServices({ config, log, redis, queueConnection, keys, registry, states, guard })
    const uploadTexts = createUploadTexts(deriveKey(masterKey.current, 'upload-texts'))
    const florence = openFlorence({ config, keys, log, redis, queueConnection, guard, webhooks })
    const list = createJobList(redis, keys, store)
    const inputs = createInputImages({ redis, keys, media, limits: imageLimits(config), texts: uploadTexts })
    return {
      config,
      sources,
      runtime,
      log,
      keys,
      redis,
      subscriber,
      redisUrl,
      queues,
      store,
      list,
      estimates: createEstimates({
        redis,
        keys,
        readPool: loadQueueScripts(entriesLua).readPool,
        dial: pool.dial,
        registry,
        states,
        processes: () => runtime.current().queueProcessing
      }),
      media,
      bucket,
      storage,
      claims,
      coming: createComingJobs(),
      inputs,
      retention: createRetention({
        redis, keys, store, list, media, inputs, log, rules: () => retentionRules(config, runtime)
      }),
      uploadTexts,
      registry,
      states,
      stateCopies,
      checks: createCheckStore(redis, keys),
      models,
      florence,
      accessKeys,
      masterKey,
      encryptor,
      guard,
      imageUrls: createImageUrls(masterKey),
      webhooks,
      metrics,
      tracing,
      processId,
      reach,
      starts,
      connect: ({ address }) => createA1111Client(address, { resolve: reach.resolve, guard: starts }),
      async close () {
        storage.close()
        await accessKeys.close()
        await models.close()
        await florence?.close()
        await queues.close()
        await webhooks.queue.close()
        await tracing.close()
        await bucket?.close()
        for (const connection of [redis, queueConnection, subscriber]) connection.disconnect()
      }
    }
  } catch (error) {
    await bucketToClose?.close()
    for (const connection of [redis, queueConnection, subscriber]) connection.disconnect()
    throw error
  }
}

/** Deletes all data of a server besides its record and state. */
export async function forgetServer (
  { queues, checks, claims }: Pick<Services, 'queues' | 'checks' | 'claims'>, serverId: string
): Promise<void> {
  await claims.forget(serverId)
  await queues.obliterate(serverId)
  await checks.forget(serverId)
}

/** How long a request to a server waits for other processes' knowledge of its start, in milliseconds. */
const notesPatience = 250

/** The values until operators change them. */
function initialValues (config: Config): RuntimeValues {
  return { queueProcessing: true, retentionDays: config.RETENTION_DAYS, retentionJobs: config.RETENTION_JOBS }
}

async function retentionRules (config: Config, runtime: RuntimeSettings): Promise<RetentionRules> {
  const { retentionDays, retentionJobs } = (await runtime.read()).values
  return { days: retentionDays, jobs: retentionJobs, dropInDays: config.TRACKER_RETENTION }
}

/** What the objects of each folder begin with, in a bucket: as the paths of their files below DATA_DIR. */
const starts: Readonly<Record<MediaFolder, string>> = {
  inputs: 'media/inputs/', outputs: 'outputs/', thumbnails: 'thumbnails/'
}

/** The store of media, in DATA_DIR or in the bucket of MEDIA_URL, whose code is loaded only for one. */
async function openMedia (config: Config): Promise<{
  media: MediaStore, bucket: Bucket | null, check: ((isTroubled: boolean) => Promise<StorageFault | null>) | null
}> {
  const directory = config.DATA_DIR
  if (config.MEDIA_URL === '') return { media: await createMediaStore({ directory }), bucket: null, check: null }
  const [{ openBucket }, { createBucketCheck }, { createBucketFiles }] = await Promise.all([
    import('../media/bucket.ts'), import('../media/bucket-check.ts'), import('../media/bucket-files.ts')
  ])
  const bucket = openBucket(config)
  const filesIn = async (folder: string, name: MediaFolder) =>
    await createBucketFiles({ bucket, folder, start: starts[name], redirect: config.MEDIA_REDIRECT })
  return { media: await createMediaStore({ directory, filesIn }), bucket, check: createBucketCheck(bucket) }
}

/** OpenTelemetry is large, and most installations do without it. */
async function openTracing (config: Config): Promise<Tracing> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers } = config
  if (endpoint === '') return noTracing
  const { createOpenTelemetry } = await import('../telemetry/open-telemetry.ts')
  const pairs = headers.split(',').map(pair => pair.split(/=(.*)/s).map(part => part.trim()))
  return createOpenTelemetry({
    endpoint,
    headers: Object.fromEntries(pairs.filter(([name]) => name !== '').map(([name, value = '']) => [name, value])),
    serviceName: config.OTEL_SERVICE_NAME
  })
}
