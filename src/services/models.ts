import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { createDownloadQueue, createDownloadWorker, type DownloadQueue } from '../../queues/downloads.ts'
import {
  createMaintenance, createMaintenanceWorker, type Maintenance, type MaintenanceWorkerDependencies
} from '../../queues/maintenance.ts'
import type { A1111Client } from '../a1111/client.ts'
import type { Config } from '../config/settings.ts'
import type { EgressGuard } from '../egress/guard.ts'
import type { Retention } from '../jobs/retention.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { withoutTrailing } from '../lib/text.ts'
import { type Catalogue, createCatalogue } from '../models/catalogue.ts'
import { type CivitaiClient, createCivitaiClient } from '../models/civitai-client.ts'
import { createDownloadService, type DownloadService } from '../models/download-service.ts'
import { createDownloadStore } from '../models/download.ts'
import { createHasher, createModelFileStore } from '../models/file-store.ts'
import { createFolderLocks, modelFolders } from '../models/folders.ts'
import { createIdentities } from '../models/join.ts'
import { createModelService, type ModelService } from '../models/model-service.ts'
import { type CivitaiImages, createCivitaiImages } from '../models/images.ts'
import { createModelRefresher, type ModelRefresher } from '../models/refresh.ts'
import { refreshServerLists } from '../models/run-download.ts'
import { createScanStatusStore, type ScanStatusStore } from '../models/scan.ts'
import { createExclusiveCalls } from '../servers/exclusive-calls.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'

/** The parts for models, created once for a process. */
export interface ModelServices {
  readonly catalogue: Catalogue
  readonly service: ModelService
  readonly scanStatus: ScanStatusStore
  readonly maintenance: Maintenance
  readonly civitai: CivitaiClient
  readonly images: CivitaiImages
  readonly refresher: ModelRefresher
  readonly downloads: DownloadService
  readonly downloadQueue: DownloadQueue
  close (): Promise<void>
}

export interface ModelServicesDependencies {
  readonly config: Config
  readonly log: Log
  readonly redis: Redis
  /** For BullMQ. */
  readonly queueConnection: Redis
  readonly keys: Keys
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
  readonly guard: EgressGuard
}

export function createModelServices (dependencies: ModelServicesDependencies): ModelServices {
  const { config, log, redis, queueConnection, keys, registry, states } = dependencies
  const files = createModelFileStore(redis, keys)
  const catalogue = createCatalogue({ registry, states, files, identities: createIdentities(redis, keys) })
  const hasher = createHasher()
  const locks = createFolderLocks(redis, keys)
  const baseUrl = withoutTrailing(config.CIVITAI_BASE_URL, '/')
  const civitai = createCivitaiClient({
    redis, keys, baseUrl, apiKey: config.CIVITAI_API_KEY, intervalMs: config.CIVITAI_INTERVAL_SECONDS * 1000
  })
  const scanStatus = createScanStatusStore(redis, keys)
  const maintenance = createMaintenance({ connection: queueConnection, keys, scanStatus, log })
  const folders = modelFolders(config)
  const downloadQueue = createDownloadQueue({ connection: queueConnection, keys, log })
  return {
    catalogue,
    service: createModelService({ catalogue, files, hasher, locks, folders }),
    scanStatus,
    maintenance,
    civitai,
    images: createCivitaiImages(join(config.DATA_DIR, 'model-pictures'), baseUrl, dependencies.guard),
    refresher: createModelRefresher({ catalogue, files, civitai, hasher, locks, log }),
    downloads: createDownloadService({
      store: createDownloadStore(redis, keys),
      civitai,
      folders,
      huggingFaceUrl: config.HUGGINGFACE_BASE_URL,
      pickles: config.DOWNLOAD_PICKLES ? 'allowed' : 'refused',
      enqueue: downloadQueue.add
    }),
    downloadQueue,
    async close () {
      await hasher.close()
      await maintenance.close()
      await downloadQueue.close()
    }
  }
}

export interface ModelWorkerDependencies {
  readonly config: Config
  readonly log: Log
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly models: ModelServices
  readonly registry: ServerRegistry
  readonly guard: EgressGuard
  readonly connect: (server: Server) => A1111Client
  readonly retention: Retention
  readonly sweep: MaintenanceWorkerDependencies['sweep']
}

/**
 * The part of a worker process that scans the model folders, the first time at once, removes old jobs, and downloads.
 */
export async function startModelWorker (
  connection: Redis, dependencies: ModelWorkerDependencies
): Promise<{ close (): Promise<void> }> {
  const { config, log, subscriber, keys, models, registry, guard, connect, retention, sweep } = dependencies
  const folders = modelFolders(config)
  const hasher = createHasher()
  const files = createModelFileStore(connection, keys)
  const worker = createMaintenanceWorker({
    connection,
    keys,
    log,
    hasher,
    folders,
    files,
    retention,
    sweep,
    locks: createFolderLocks(connection, keys),
    scanStatus: createScanStatusStore(connection, keys)
  })
  const leaving = new AbortController()
  const exclusiveCalls = await createExclusiveCalls({ redis: connection, subscriber, keys })
  const downloads = createDownloadWorker({
    connection,
    keys,
    log,
    hasher,
    folders,
    files,
    guard,
    store: createDownloadStore(connection, keys),
    catalogue: models.catalogue,
    refresher: models.refresher,
    sources: {
      civitai: { origin: new URL(config.CIVITAI_BASE_URL).origin, key: config.CIVITAI_API_KEY },
      huggingface: { origin: new URL(config.HUGGINGFACE_BASE_URL).origin, key: config.HUGGINGFACE_TOKEN }
    },
    refreshServerLists (type, root) {
      const parts = { registry, connect, log, exclusiveCalls, catalogue: models.catalogue }
      refreshServerLists(type, root, parts, leaving.signal)
        .catch(error => { log.warn({ err: error }, 'servers could not reload their folders') })
    }
  })
  await models.maintenance.scheduleSweeps()
  await models.maintenance.scheduleFills()
  if (folders.length > 0) await models.maintenance.requestScan()
  await models.maintenance.schedulePurges()
  return {
    async close () {
      leaving.abort()
      await Promise.all([worker.close(), downloads.close()])
      exclusiveCalls.close()
      await hasher.close()
    }
  }
}
