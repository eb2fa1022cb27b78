import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { ServerState } from './server.ts'

/** One look at a server. */
export interface HealthSample {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly reachable: ServerState['reachable']
  /** How long it took to answer, in milliseconds; null where it did not. */
  readonly responseMs: number | null
}

/** How a server was over the last day, for every process to read. */
export interface ServerHistories {
  add (serverId: string, sample: HealthSample): Promise<void>
  /** Oldest first, none older than a day. */
  read (serverId: string): Promise<HealthSample[]>
  forget (serverId: string): Promise<void>
}

const day = 86_400_000
/** A sample a minute makes 1,440 a day; the rest is for changes in between. */
const mostSamples = 2000

const letters = { yes: 'y', no: 'n', unauthorized: 'u', suspected: 's' } as const
const states = { y: 'yes', n: 'no', u: 'unauthorized', s: 'suspected' } as const

/** Samples are a few bytes of text each, in a list that never grows beyond its bound. */
export function createServerHistories (redis: Redis, keys: Keys): ServerHistories {
  const samplesKey = (serverId: string) => keys.key('server', serverId, 'samples')
  return {
    async add (serverId, { at, reachable, responseMs }) {
      const text = `${at} ${letters[reachable]} ${responseMs ?? ''}`
      await redis.multi()
        .rpush(samplesKey(serverId), text)
        .ltrim(samplesKey(serverId), -mostSamples, -1)
        .pexpire(samplesKey(serverId), day)
        .exec()
    },
    async read (serverId) {
      const oldest = Date.now() - day
      return (await redis.lrange(samplesKey(serverId), 0, -1)).map(parseSample).filter(({ at }) => at >= oldest)
    },
    async forget (serverId) {
      await redis.del(samplesKey(serverId))
    }
  }
}

function parseSample (text: string): HealthSample {
  const [at = '', letter = '', responseMs = ''] = text.split(' ')
  return {
    at: Number(at), reachable: states[letter as keyof typeof states], responseMs: responseMs === '' ? null : Number(responseMs)
  }
}

function isOnline (reachable: ServerState['reachable']): boolean {
  return reachable === 'yes' || reachable === 'suspected'
}

/** Share of the time from the first sample to `until` in which the server answered; null without samples. */
export function onlineShare (samples: readonly HealthSample[], until: number): number | null {
  const first = samples[0]
  if (first === undefined) return null
  let online = 0
  for (const [index, { at, reachable }] of samples.entries()) {
    if (isOnline(reachable)) online += (samples[index + 1]?.at ?? until) - at
  }
  return until === first.at ? Number(isOnline(first.reachable)) : online / (until - first.at)
}
