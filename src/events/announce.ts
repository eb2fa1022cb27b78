import type { Redis } from 'ioredis'
import type { StoredKind } from '../../schemas/event.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

const publishEvent = loadScript<[prefix: string], [kind: HouseKind, server: string, data: string], null>(
  new URL('scripts/publish-event.lua', import.meta.url))

export type HouseKind = Extract<StoredKind, `server-${string}` | `queue-${string}`>

/** Tells everybody who listens what became of a server, or, without one, of all lines. */
export type Announce = (
  kind: HouseKind, server: { readonly id: string, readonly alias: string } | null
) => Promise<void>

export function createAnnouncer (redis: Redis, keys: Keys): Announce {
  return async (kind, server) => {
    const facts = JSON.stringify(server === null ? {} : { alias: server.alias })
    await publishEvent(redis, [keys.key('')], [kind, server?.id ?? '', facts])
  }
}
