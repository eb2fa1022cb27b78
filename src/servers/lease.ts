import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { isHolderGone, writeHolder, type LeaseHolder } from './lease-holder.ts'

/** Ours under a fence, or another's for at least so many milliseconds more unless it lets go. */
export type LeaseAnswer =
  | { readonly kind: 'taken', readonly fence: number }
  | { readonly kind: 'held', readonly remainingMs: number }

/** A lease is renewed several times within this part of its lifetime. */
const almost = 0.75

/**
 * One process at a time serves a server. Whoever holds its lease may; the fence rises with each new holder, so what
 * a former holder still reports can be told from what the present one does.
 */
export interface LeaseStore {
  /**
   * Also from a holder that has certainly died, whose lease then need not run out. To be called again and again while
   * another holds it: only who watches a lease can tell that it has ended.
   */
  acquire (serverId: string, lifetimeMs: number): Promise<LeaseAnswer>
  /** Whether the lease is still ours; takes it back when it ran out and nobody else had it since. */
  renew (serverId: string, fence: number, lifetimeMs: number): Promise<boolean>
  /** Whether nobody else has had the lease since it was taken under this fence. */
  isHeld (serverId: string, fence: number): Promise<boolean>
  release (serverId: string): Promise<void>
}

/**
 * KEYS: lease, which Redis drops when its time is over; fence counter; beat. The beat changes whenever the lease is
 * taken or renewed, and is no more once it was released: `<fence>.<renewals>.<lifetime> <holder>`. Others watch it,
 * since the clock by which Redis drops a lease may be set.
 */
const prelude = /* lua */ `
local holder, lifetime = ARGV[1], ARGV[2]
local present, beat = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local renewals, owner = string.match(beat or '', '^%d+%.(%d+)%.%d+ (.*)$')
local function keep (fence, count)
  redis.call('SET', KEYS[1], holder, 'PX', lifetime)
  redis.call('SET', KEYS[3], fence .. '.' .. count .. '.' .. lifetime .. ' ' .. holder)
end
`

// ARGV: holder, lifetime, the beat that was watched for long enough or ''. Whoever holds it by a command whose answer
// was lost gets it again. Answers 1 and the fence, or 0, the beat, its holder, and how long Redis keeps the lease.
const acquireLease = prelude + /* lua */ `
if (not beat and (not present or present == holder)) or owner == holder or (beat and beat == ARGV[3]) then
  local fence = redis.call('INCR', KEYS[2])
  keep(fence, 0)
  return { 1, fence }
end
return { 0, beat or '', owner or present, redis.call('PTTL', KEYS[1]) }
`

// ARGV: holder, lifetime, fence. A lease that ran out is ours again only if nobody else had it since. The counter is
// behind where Redis came back without its last moments.
const renewLease = prelude + /* lua */ `
if (owner or present or holder) ~= holder then return 0 end
local fence = tonumber(redis.call('GET', KEYS[2]) or 0)
if fence > tonumber(ARGV[3]) then return 0 end
if fence < tonumber(ARGV[3]) then redis.call('SET', KEYS[2], ARGV[3]) end
keep(ARGV[3], (tonumber(renewals) or 0) + 1)
return 1
`

const releaseLease = /* lua */ `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
if string.match(redis.call('GET', KEYS[3]) or '', '^%S+ (.*)$') == ARGV[1] then redis.call('DEL', KEYS[3]) end
return 1
`

/** A beat of another process, as it was seen from here, by the monotonic clock. */
interface Watched {
  readonly beat: string
  readonly since: number
  readonly seenAt: number
}

/** @param own this process, as the leases are to name it */
export function createLeaseStore (redis: Redis, keys: Keys, own: LeaseHolder): LeaseStore {
  const holder = writeHolder(own)
  const watched = new Map<string, Watched>()
  const keysOf = (serverId: string) => [
    keys.key('lease', serverId), keys.key('lease', serverId, 'fence'), keys.key('lease', serverId, 'beat')
  ] as const

  async function ask (serverId: string, lifetimeMs: number, seen: string) {
    const [taken, value, other, left] = await redis.eval(
      acquireLease, 3, ...keysOf(serverId), holder, lifetimeMs, seen) as [number, string | number, string?, number?]
    if (taken === 1) {
      watched.delete(serverId)
      return { kind: 'taken', fence: Number(value) } as const
    }
    return { kind: 'held', beat: String(value), other: other ?? '', left: left ?? 0 } as const
  }

  /** Milliseconds until a beat that does not change means that its holder is gone. */
  function watch (serverId: string, beat: string, left: number): number {
    const now = performance.now()
    const lifetime = Number(/^\d+\.\d+\.(\d+)/.exec(beat)?.[1] ?? 0)
    const before = watched.get(serverId)
    // Who did not look for a while, as Redis or this process stood still, does not know whether others could renew.
    const isWatched = before?.beat === beat && now - before.seenAt < lifetime * almost
    const since = isWatched ? before.since : now
    watched.set(serverId, { beat, since, seenAt: now })
    // Redis has dropped it already, and nothing is known here that speaks against that.
    if (left < 0 && before === undefined) return 0
    return left < 0 ? since + lifetime * almost - now : Math.min(since + lifetime - now, left)
  }

  return {
    async acquire (serverId, lifetimeMs) {
      const found = await ask(serverId, lifetimeMs, '')
      if (found.kind === 'taken') return found
      const { beat, other, left } = found
      // A process of an earlier version, which has no beat.
      if (beat === '') return { kind: 'held', remainingMs: Math.max(0, left) }
      const remainingMs = watch(serverId, beat, left)
      if (remainingMs > 0 && !isHolderGone(other, own)) return { kind: 'held', remainingMs }
      // Of several who saw it end, one gets the lease.
      const again = await ask(serverId, lifetimeMs, beat)
      return again.kind === 'taken' ? again : { kind: 'held', remainingMs: lifetimeMs }
    },
    async renew (serverId, fence, lifetimeMs) {
      return await redis.eval(renewLease, 3, ...keysOf(serverId), holder, lifetimeMs, fence) === 1
    },
    async isHeld (serverId, fence) {
      return Number(await redis.get(keysOf(serverId)[1])) === fence
    },
    async release (serverId) {
      await redis.eval(releaseLease, 3, ...keysOf(serverId), holder)
    }
  }
}
