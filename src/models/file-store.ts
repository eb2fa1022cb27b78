import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { ModelFacts, ModelFile } from './model.ts'

/** What was found in the model folders, and what Civitai said, for every process to read. */
export interface ModelFileStore {
  /** Changes with every change of the rest. */
  version (): Promise<string>
  all (): Promise<ModelFile[]>
  write (files: readonly ModelFile[]): Promise<void>
  forget (absolutePaths: readonly string[]): Promise<void>
  /** Civitai's facts of models without a file here, by SHA-256. */
  fetched (): Promise<ReadonlyMap<string, ModelFacts>>
  writeFetched (sha256: string, facts: ModelFacts): Promise<void>
}

export function createModelFileStore (redis: Redis, keys: Keys): ModelFileStore {
  const filesKey = keys.key('model-files')
  const fetchedKey = keys.key('model-facts')
  const versionKey = keys.key('model-files', 'version')

  return {
    version: async () => await redis.get(versionKey) ?? '0',
    all: async () => (await redis.hvals(filesKey)).map(text => JSON.parse(text) as ModelFile),
    async write (files) {
      if (files.length === 0) return
      const records = Object.fromEntries(files.map(file => [file.absolutePath, JSON.stringify(file)]))
      await redis.multi().hset(filesKey, records).incr(versionKey).exec()
    },
    async forget (absolutePaths) {
      if (absolutePaths.length > 0) await redis.multi().hdel(filesKey, ...absolutePaths).incr(versionKey).exec()
    },
    async fetched () {
      const records = Object.entries(await redis.hgetall(fetchedKey))
      return new Map(records.map(([sha256, text]) => [sha256, JSON.parse(text) as ModelFacts]))
    },
    async writeFetched (sha256, facts) {
      await redis.multi().hset(fetchedKey, sha256, JSON.stringify(facts)).incr(versionKey).exec()
    }
  }
}
