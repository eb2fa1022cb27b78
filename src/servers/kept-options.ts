import type { Redis } from 'ioredis'
import { textOf, type JsonObject } from '../a1111/json-values.ts'
import { splitHash } from '../a1111/names.ts'
import { sameSetting } from '../a1111/setting-marks.ts'
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

/**
 * A server's options as they are for people and for jobs that ask for nothing: without what a job of ours overrides.
 *
 * @param kept what was kept before and after they were read, since a job may begin or end meanwhile
 */
export function optionsForPeople (options: JsonObject, kept: ReadonlyArray<KeptOptions | null>): JsonObject {
  const changed: Record<string, unknown> = {}
  for (const known of kept) {
    if (known === null) continue
    for (const [name, { before, values }] of Object.entries(known.lent)) {
      const now = options[name]
      if (sameSetting(now, before) || !values.some(value => sameSetting(now, value))) continue
      changed[name] = before
    }
    const seen = textOf(options.sd_model_checkpoint)
    const { selection, open } = known
    if (seen === null || selection === null || splitHash(seen).name === splitHash(selection).name) continue
    if (!open.includes(splitHash(seen).name)) continue
    changed.sd_model_checkpoint = selection
    // that of the loaded file
    changed.sd_checkpoint_hash = ''
  }
  return Object.keys(changed).length === 0 ? options : { ...options, ...changed }
}
