import type { Redis } from 'ioredis'
import type { AccessKey } from './key-record.ts'
import { noteUse } from './key-scripts.ts'

/** Counts uses of keys here and writes them together, so that a request costs no write of its own. */
export interface KeyUsage {
  readonly note: (id: string, moment: number) => void
  /** The key with the uses added that are not written yet. */
  readonly withPending: (accessKey: AccessKey) => AccessKey
  readonly flush: () => Promise<void>
  readonly close: () => Promise<void>
}

/** @param recordKey name of a key's record in Redis */
export function createKeyUsage (
  { redis, recordKey, flushSeconds }: { redis: Redis, recordKey: (id: string) => string, flushSeconds: number }
): KeyUsage {
  let pending = new Map<string, { uses: number, last: number }>()
  // An unsuccessful write leaves the counts for the next round.
  const timer = setInterval(() => { flush().catch(() => {}) }, flushSeconds * 1000)
  timer.unref()

  function add (id: string, uses: number, last: number): void {
    const known = pending.get(id)
    pending.set(id, { uses: uses + (known?.uses ?? 0), last: Math.max(last, known?.last ?? 0) })
  }

  async function flush (): Promise<void> {
    if (pending.size === 0) return
    const batch = pending
    pending = new Map()
    await Promise.all([...batch].map(async ([id, { uses, last }]) => {
      await noteUse(redis, [recordKey(id)], [uses, last]).catch(() => { add(id, uses, last) })
    }))
  }

  return {
    note: (id, moment) => add(id, 1, moment),
    withPending (accessKey) {
      const more = pending.get(accessKey.id)
      if (more === undefined) return accessKey
      return {
        ...accessKey,
        usageCount: accessKey.usageCount + more.uses,
        lastUsedAt: Math.max(more.last, accessKey.lastUsedAt ?? 0)
      }
    },
    flush,
    async close () {
      clearInterval(timer)
      await flush()
    }
  }
}
