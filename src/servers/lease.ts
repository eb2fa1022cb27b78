import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { isHolderGone, writeHolder, type LeaseHolder } from './lease-holder.ts'

/** Ours under a fence, or another's for at least so many milliseconds more unless it lets go. */
export type LeaseAnswer =
  | { readonly kind: 'taken', readonly fence: number }
  | { readonly kind: 'held', readonly remainingMs: number }

/**
 * One process at a time serves a server. Whoever holds its lease may; the fence rises with each new holder, so what
 * a former holder still reports can be told from what the present one does.
 */
export interface LeaseStore {
  /** Also from a holder that has certainly died, whose lease then need not run out. */
  acquire (serverId: string, lifetimeMs: number): Promise<LeaseAnswer>
  /** Whether the lease is still ours; takes it back when it ran out and nobody else had it since. */
  renew (serverId: string, fence: number, lifetimeMs: number): Promise<boolean>
  /** Whether nobody else has had the lease since it was taken under this fence. */
  isHeld (serverId: string, fence: number): Promise<boolean>
  release (serverId: string): Promise<void>
}

// KEYS: lease, fence counter. ARGV: holder, lifetime. Whoever holds it by a command whose answer was lost gets it anew.
const acquireLease = /* lua */ `
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return { 1, redis.call('INCR', KEYS[2]) } end
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return { 1, redis.call('INCR', KEYS[2]) }
end
return { 0, redis.call('PTTL', KEYS[1]), redis.call('GET', KEYS[1]) }
`

// KEYS as before. ARGV: new holder, lifetime, the dead one. Of several who saw it die, one gets the lease.
const inheritLease = /* lua */ `
if redis.call('GET', KEYS[1]) ~= ARGV[3] then return { 0, 0 } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { 1, redis.call('INCR', KEYS[2]) }
`

// ARGV: holder, lifetime, fence. A lease that ran out is ours again only if the fence did not move.
const renewLease = /* lua */ `
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if redis.call('GET', KEYS[2]) ~= ARGV[3] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`

const releaseLease = /* lua */ `
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`

/** @param own this process, as the leases are to name it */
export function createLeaseStore (redis: Redis, keys: Keys, own: LeaseHolder): LeaseStore {
  const holder = writeHolder(own)
  const keysOf = (serverId: string) => [keys.key('lease', serverId), keys.key('lease', serverId, 'fence')] as const
  const answerOf = ([taken, value]: readonly number[]): LeaseAnswer =>
    taken === 1 ? { kind: 'taken', fence: value ?? 0 } : { kind: 'held', remainingMs: Math.max(0, value ?? 0) }

  return {
    async acquire (serverId, lifetimeMs) {
      const [taken, value, other] = await redis.eval(
        acquireLease, 2, ...keysOf(serverId), holder, lifetimeMs) as [number, number, string?]
      if (taken === 1 || other === undefined || !isHolderGone(other, own)) return answerOf([taken, value])
      return answerOf(await redis.eval(inheritLease, 2, ...keysOf(serverId), holder, lifetimeMs, other) as number[])
    },
    async renew (serverId, fence, lifetimeMs) {
      return await redis.eval(renewLease, 2, ...keysOf(serverId), holder, lifetimeMs, fence) === 1
    },
    async isHeld (serverId, fence) {
      return Number(await redis.get(keysOf(serverId)[1])) === fence
    },
    async release (serverId) {
      await redis.eval(releaseLease, 2, ...keysOf(serverId), holder)
    }
  }
}
