import { createHash, randomBytes } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { AccessKeys } from './keys.ts'
import { administrator, type Principal } from './principal.ts'

/** Stand in for credentials once, where a browser can set no headers: EventSource and WebSocket. */
export interface Tickets {
  readonly issue: (principal: Principal) => Promise<{ ticket: string, expiresAt: number }>
  /** Who it was issued to, with the rights they have now; null when it was used, is too old or was never issued. */
  readonly redeem: (ticket: string) => Promise<Principal | null>
}

export interface TicketsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly accessKeys: Pick<AccessKeys, 'holder'>
}

/** How long a ticket waits for its connection, in milliseconds. */
const goodForMs = 60_000

interface Holder {
  readonly kind: Principal['kind']
  readonly keyId: string | null
}

export function createTickets ({ redis, keys, accessKeys }: TicketsDependencies): Tickets {
  // Redis holds only hashes: whoever reads along there gets no ticket.
  const nameOf = (ticket: string) => keys.key('ticket', createHash('sha256').update(ticket).digest('hex'))

  return {
    async issue ({ kind, keyId }) {
      const ticket = randomBytes(32).toString('base64url')
      const holder: Holder = { kind, keyId }
      await redis.set(nameOf(ticket), JSON.stringify(holder), 'PX', goodForMs)
      return { ticket, expiresAt: Date.now() + goodForMs }
    },
    async redeem (ticket) {
      const text = await redis.getdel(nameOf(ticket))
      if (text === null) return null
      const { kind, keyId } = JSON.parse(text) as Holder
      if (keyId !== null) return await accessKeys.holder(keyId)
      return kind === 'token' || kind === 'local' || kind === 'session' ? administrator(kind) : null
    }
  }
}
