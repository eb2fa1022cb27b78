import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { createMaintenance, createMaintenanceWorker, type Maintenance } from '../queues/maintenance.ts'
import { createCivitaiClient, type CivitaiClient } from './civitai/client.ts'
import { createCivitaiPictures, type CivitaiPictures } from './civitai/pictures.ts'
import type { Config } from './config/settings.ts'
import type { Log } from './log.ts'
import { createCatalogue, type Catalogue } from './models/catalogue.ts'
import { createModelDesk, type ModelDesk } from './models/desk.ts'
import { createModelFileStore } from './models/file-store.ts'
import { modelFolders } from './models/folders.ts'
import { createHasher } from './models/hasher.ts'
import { createIdentities } from './models/identities.ts'
import { createModelRefresher, type ModelRefresher } from './models/refresh.ts'
import { createScanBoard, type ScanBoard } from './models/scan-board.ts'
import type { Keys } from './redis/keys.ts'
import type { ServerRegistry } from './servers/registry.ts'
import type { ServerStateStore } from './servers/state-store.ts'

/** Everything about models, put together once for a process. */
export interface ModelHouse {
  readonly catalogue: Catalogue
  readonly desk: ModelDesk
  readonly board: ScanBoard
  readonly maintenance: Maintenance
  readonly civitai: CivitaiClient
  readonly pictures: CivitaiPictures
  readonly refresher: ModelRefresher
  close (): Promise<void>
}

export interface ModelHouseDependencies {
  readonly config: Config
  readonly log: Log
  readonly redis: Redis
  readonly keys: Keys
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

export function createModelHouse (dependencies: ModelHouseDependencies): ModelHouse {
  const { config, log, redis, keys, registry, states } = dependencies
  const files = createModelFileStore(redis, keys)
  const catalogue = createCatalogue({ registry, states, files, identities: createIdentities(redis, keys) })
  const hasher = createHasher()
  const baseUrl = config.CIVITAI_BASE_URL.replace(/\/+$/, '')
  const civitai = createCivitaiClient({
    redis, keys, baseUrl, apiKey: config.CIVITAI_API_KEY, intervalMs: config.CIVITAI_INTERVAL_SECONDS * 1000
  })
  const board = createScanBoard(redis, keys)
  const maintenance = createMaintenance({ connection: redis, keys, board, log })
  return {
    catalogue,
    desk: createModelDesk({ catalogue, files, hasher, folders: modelFolders(config) }),
    board,
    maintenance,
    civitai,
    pictures: createCivitaiPictures(join(config.DATA_DIR, 'model-pictures'), baseUrl),
    refresher: createModelRefresher({ catalogue, files, civitai, hasher, log }),
    async close () {
      await hasher.close()
      await maintenance.close()
    }
  }
}

/** The part of a worker process that looks through the model folders; the first time at once. */
export async function startModelWorker (
  connection: Redis, { config, log, keys, models }: { config: Config, log: Log, keys: Keys, models: ModelHouse }
): Promise<{ close (): Promise<void> }> {
  const folders = modelFolders(config)
  const hasher = createHasher()
  const worker = createMaintenanceWorker({
    connection,
    keys,
    log,
    hasher,
    folders,
    board: createScanBoard(connection, keys),
    files: createModelFileStore(connection, keys)
  })
  if (folders.length > 0) await models.maintenance.requestScan()
  return {
    async close () {
      await worker.close()
      await hasher.close()
    }
  }
}
