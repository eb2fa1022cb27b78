import { Worker } from 'node:worker_threads'
import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import type { ModelFacts, ModelFile } from '../model-facts/facts.ts'
import { loadScript } from '../redis/scripts.ts'
import type { FileHashes, HashAnswer, HashRequest } from './hash-thread.ts'

/** A file as a scan read it, and its record from the start of the scan. */
export interface FoundRecord {
  readonly file: ModelFile
  readonly before: ModelFile | undefined
}

/** Facts from the model folders and from Civitai, for every process. */
export interface ModelFileStore {
  /** Changes with every change of the rest. */
  version (): Promise<string>
  all (): Promise<ModelFile[]>
  write (files: readonly ModelFile[]): Promise<void>
  /** Writes the results of a scan, except for files that were written since the scan began: those are newer. */
  writeFound (found: readonly FoundRecord[]): Promise<void>
  /** Adds hashes to the records of files that have not changed since. */
  addHashes (hashed: readonly ModelFile[]): Promise<void>
  forget (absolutePaths: readonly string[]): Promise<void>
  /** Deletes all records, including Civitai's facts; returns the number of files. */
  clear (): Promise<number>
  /** Civitai's facts, by SHA-256 or its first ten digits. */
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

export interface Hasher {
  /**
   * The hashes of a file, one file at a time; a signal stops it in the middle.
   * @throws Error with the reason; an AbortError for the signal
   */
  hash (path: string, signal: AbortSignal): Promise<FileHashes>
  close (): Promise<void>
}

/** The thread is `.ts` where sources run as they are, `.js` where they were built. */
const threadUrl = new URL(`./hash-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

function startThread (): Worker {
  const thread = new Worker(threadUrl)
  thread.unref()
  return thread
}

/** Hashes in a thread of its own, so that gigabytes delay nothing else. The thread starts at first use. */
export function createHasher (): Hasher {
  let thread: Worker | null = null
  let line: Promise<unknown> = Promise.resolve()

  async function stop (): Promise<void> {
    const stopping = thread
    thread = null
    await stopping?.terminate()
  }

  async function hash (path: string, signal: AbortSignal): Promise<FileHashes> {
    signal.throwIfAborted()
    const worker = thread ??= startThread()
    let stopListening = () => {}
    try {
      const answer = await new Promise<HashAnswer>((resolve, reject) => {
        const onExit = () => { reject(new Error('the hash thread stopped')) }
        const onAbort = () => { reject(signal.reason) }
        stopListening = () => {
          worker.off('message', resolve).off('error', reject).off('exit', onExit)
          signal.removeEventListener('abort', onAbort)
        }
        worker.on('message', resolve).on('error', reject).on('exit', onExit)
        signal.addEventListener('abort', onAbort, { once: true })
        worker.postMessage({ path } satisfies HashRequest)
      })
      if ('problem' in answer) throw new Error(answer.problem)
      return answer.hashes
    } catch (error) {
      if (signal.aborted) await stop()
      throw error
    } finally {
      stopListening()
    }
  }

  return {
    hash (path, signal) {
      const result = line.then(async () => await hash(path, signal))
      line = result.catch(() => undefined)
      return result
    },
    close: stop
  }
}
