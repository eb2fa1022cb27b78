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
  /** Forgets everything, also what Civitai said; how many files it was. */
  clear (): Promise<number>
  /** What Civitai said, by SHA-256 or its first ten digits. */
  fetched (): Promise<ReadonlyMap<string, ModelFacts>>
  writeFetched (hash: string, facts: ModelFacts): Promise<void>
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
    async clear () {
      const count = await redis.hlen(filesKey)
      await redis.multi().del(filesKey, fetchedKey).incr(versionKey).exec()
      return count
    },
    async fetched () {
      const records = Object.entries(await redis.hgetall(fetchedKey))
      return new Map(records.map(([hash, text]) => [hash, JSON.parse(text) as ModelFacts]))
    },
    async writeFetched (hash, facts) {
      await redis.multi().hset(fetchedKey, hash, JSON.stringify(facts)).incr(versionKey).exec()
    }
  }
}
