import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { ModelFacts, ModelFile } from './model.ts'

/** A file as a scan read it, and what was known of it when the scan began. */
export interface FoundRecord {
  readonly file: ModelFile
  readonly before: ModelFile | undefined
}

/** What was found in the model folders, and what Civitai said, for every process to read. */
export interface ModelFileStore {
  /** Changes with every change of the rest. */
  version (): Promise<string>
  all (): Promise<ModelFile[]>
  write (files: readonly ModelFile[]): Promise<void>
  /**
   * Writes what a scan read, except where somebody else has written of that file since the scan began: that is newer.
   */
  writeFound (found: readonly FoundRecord[]): Promise<void>
  /** Adds hashes to what is known of files that are still those that were hashed. */
  addHashes (hashed: readonly ModelFile[]): Promise<void>
  forget (absolutePaths: readonly string[]): Promise<void>
  /** Forgets everything, also what Civitai said; how many files it was. */
  clear (): Promise<number>
  /** What Civitai said, by SHA-256 or its first ten digits. */
  fetched (): Promise<ReadonlyMap<string, ModelFacts>>
  writeFetched (hash: string, facts: ModelFacts): Promise<void>
}

const replaceRecords = loadScript<[records: string, version: string], string[], null>(
  new URL('scripts/replace-records.lua', import.meta.url))

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
    async writeFound (found) {
      if (found.length === 0) return
      const changes = found.flatMap(({ file, before }) => [
        file.absolutePath,
        before === undefined ? '' : `"companions":${JSON.stringify(before.companions)}`,
        JSON.stringify(file)
      ])
      await replaceRecords(redis, [filesKey, versionKey], changes)
    },
    async addHashes (hashed) {
      if (hashed.length === 0) return
      const texts = await redis.hmget(filesKey, ...hashed.map(({ absolutePath }) => absolutePath))
      const changes = hashed.flatMap((file, index) => {
        const text = texts[index] ?? null
        if (text === null) return []
        const known = JSON.parse(text) as ModelFile
        const same = known.inode === file.inode && known.size === file.size && known.modifiedAt === file.modifiedAt
        const { sha256, autoV3 } = file
        return same ? [file.absolutePath, text, JSON.stringify({ ...known, sha256, autoV3 })] : []
      })
      if (changes.length > 0) await replaceRecords(redis, [filesKey, versionKey], changes)
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
