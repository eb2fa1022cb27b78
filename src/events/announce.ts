import type { Redis } from 'ioredis'
import type { StoredKind } from '../../schemas/event.ts'
import { clockLua } from '../redis/clock.ts'
import type { Keys } from '../redis/keys.ts'

/** How many events are kept at least; a reconnect that comes later than that is told to read its lists anew. */
export const keptEvents = 10_000

/**
 * What scripts tell events with, in the step that makes them true. KEYS[1] is the common beginning of every key.
 * Listeners hear of a stored event on the channel under the id that it has in the stream, so that who missed some
 * finds the rest there.
 */
export const announceLua = clockLua + /* lua */ `
local function tellListeners (event)
  redis.call('PUBLISH', KEYS[1] .. 'channel:jobs', cjson.encode(event))
end

local function announce (kind, job, server, key, status, data)
  local id = redis.call('XADD', KEYS[1] .. 'events', 'MAXLEN', '~', ${keptEvents}, '*', 'kind', kind, 'job', job,
    'server', server, 'key', key, 'status', status, 'data', data and cjson.encode(data) or '')
  tellListeners({ id = id, kind = kind, job = job, server = server, key = key, status = status, data = data })
end

local function announceLive (kind, job, server, key, status, data)
  tellListeners({
    kind = kind, job = job, server = server, key = key, status = status, data = data, moment = milliseconds()
  })
end
`

const announceAlone = announceLua + /* lua */ `
announce(ARGV[1], '', ARGV[2], '', '', cjson.decode(ARGV[3]))
`

export type HouseKind = Extract<StoredKind, `server-${string}` | `queue-${string}`>

/** Tells everybody who listens what became of a server, or, without one, of all lines. */
export type Announce = (
  kind: HouseKind, server: { readonly id: string, readonly alias: string } | null
) => Promise<void>

export function createAnnouncer (redis: Redis, keys: Keys): Announce {
  return async (kind, server) => {
    const facts = JSON.stringify(server === null ? {} : { alias: server.alias })
    await redis.eval(announceAlone, 1, keys.key(''), kind, server?.id ?? '', facts)
  }
}
