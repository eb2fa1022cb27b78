import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import type { Keys } from '../redis/keys.ts'

/** A setting that jobs overrode. */
export interface LentSetting {
  /** What it was before, and is for everybody else. */
  readonly before: unknown
  /** What jobs set it to, the latest last. */
  readonly values: readonly unknown[]
}

/** What is kept of a server's options so that nothing of our jobs is taken for its owner's choice, over any crash. */
export interface KeptOptions {
  readonly baseUrl: string
  /** The checkpoint that people selected there; null: not known yet. */
  readonly selection: string | null
  /** Checkpoints of jobs that may be selected there still. */
  readonly open: readonly string[]
  /** All checkpoints of jobs since the server started: its config file may have been saved while one of them ran. */
  readonly used: readonly string[]
  readonly lent: Readonly<Record<string, LentSetting>>
}

export interface KeptOptionsStore {
  /** Null before the first job. */
  read (serverId: string): Promise<KeptOptions | null>
  write (serverId: string, kept: KeptOptions): Promise<void>
  forget (serverId: string): Promise<void>
}

export function createKeptOptionsStore (redis: Redis, keys: Keys): KeptOptionsStore {
  const keyOf = (serverId: string) => keys.key('server', serverId, 'options')
  return {
    async read (serverId) {
      const text = await redis.get(keyOf(serverId))
      return text === null ? null : parseJsonText(text) as KeptOptions
    },
    async write (serverId, kept) { await redis.set(keyOf(serverId), stringifyJson(kept)) },
    async forget (serverId) { await redis.del(keyOf(serverId)) }
  }
}
