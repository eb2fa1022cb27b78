import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import type { Keys } from '../redis/keys.ts'

/** Settings of a server that a caller has made its own, by A1111's names; the checkpoint by its title. */
export type OwnOptions = Readonly<Record<string, unknown>>

/** What POST /options changes: the caller's own defaults, never a server. */
export interface OwnOptionsStore {
  read (caller: string): Promise<OwnOptions>
  /** A value of undefined gives the setting back to the server. */
  write (caller: string, changes: Readonly<Record<string, unknown>>): Promise<void>
}

export function createOwnOptions (redis: Redis, keys: Keys): OwnOptionsStore {
  const optionsKey = (caller: string) => keys.key('drop-in', 'options', caller)
  return {
    async read (caller) {
      const stored = await redis.hgetall(optionsKey(caller))
      return Object.fromEntries(Object.entries(stored).map(([name, text]) => [name, parseJsonText(text) as unknown]))
    },
    async write (caller, changes) {
      const transaction = redis.multi()
      for (const [name, value] of Object.entries(changes)) {
        if (value === undefined) transaction.hdel(optionsKey(caller), name)
        else transaction.hset(optionsKey(caller), name, stringifyJson(value))
      }
      await transaction.exec()
    }
  }
}
