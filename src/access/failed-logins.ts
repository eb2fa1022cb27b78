import { isIPv6 } from 'node:net'
import type { Redis } from 'ioredis'
import { groupsOf, unmapped } from '../lib/ip.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * Slows down who sends wrong credentials, by address. It is asked only about credentials that were already found
 * wrong: right ones are never refused for their address, or knowing it would be enough to lock somebody out.
 */
export interface FailedLogins {
  /** Counts one failure and answers for how many more seconds the address is refused; 0 if it is not. */
  readonly note: (address: string) => Promise<number>
}

const noteFailure = loadScript<[record: string], [moment: number | ''], number>(
  new URL('scripts/note-failure.lua', import.meta.url))

export function createFailedLogins (
  { redis, keys, now }: { redis: Redis, keys: Keys, now?: () => number }
): FailedLogins {
  return {
    async note (address) {
      const left = await noteFailure(redis, [keys.key('failed-logins', neighbourhood(address))], [now?.() ?? ''])
      return Math.ceil(left / 1000)
    }
  }
}

/** The address, or for IPv6 its /64: whoever has one address there has them all. */
export function neighbourhood (address: string): string {
  const plain = unmapped(address)
  if (!isIPv6(plain)) return plain
  return groupsOf(plain).slice(0, 4).map(group => group.toString(16)).join(':') + '::/64'
}
