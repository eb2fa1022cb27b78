import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import { createCatalogue, type Catalogue } from './catalogue.ts'
import { createModelFileStore, type ModelFileStore } from './file-store.ts'
import { createIdentities } from './identities.ts'

/** Everything about models, put together once for a process. */
export interface ModelHouse {
  readonly catalogue: Catalogue
  readonly files: ModelFileStore
}

export interface ModelHouseDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

export function createModelHouse ({ redis, keys, registry, states }: ModelHouseDependencies): ModelHouse {
  const files = createModelFileStore(redis, keys)
  const catalogue = createCatalogue({ registry, states, files, identities: createIdentities(redis, keys) })
  return { catalogue, files }
}
