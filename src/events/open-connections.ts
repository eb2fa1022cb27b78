import type { Redis } from 'ioredis'
import type { AccessKeys } from '../access/keys.ts'
import { mayDo, type Principal } from '../access/principal.ts'
import { repeatEach } from '../lib/beat.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'

/** A stream with a listener, over any transport. */
export interface OpenConnection {
  readonly principal: Principal
  /** Shows both ends that the other is there. */
  beat (): void
  /** Ends it so that the client reconnects. */
  end (): void
  /** Aborted when it is finished. */
  readonly signal: AbortSignal
}

/** Every stream of this process: kept alive, limited in number, and ended when their time is over. */
export interface OpenConnections {
  /** @throws ServiceError `too_many_listeners` */
  admit (): void
  add (connection: OpenConnection): void
  count (): number
  /** Ends all, and takes no more. */
  close (): void
}

export interface OpenConnectionsDependencies {
  readonly accessKeys: Pick<AccessKeys, 'holder'>
  /** A connection in subscriber mode, subscribed to changes of access keys. */
  readonly subscriber: Redis
  readonly keys: Keys
}

const most = 5000
const beatSeconds = 15
/** Listeners must authenticate again after this time, in milliseconds. */
const longestMs = 3_600_000

export function createOpenConnections ({ accessKeys, subscriber, keys }: OpenConnectionsDependencies): OpenConnections {
  const open = new Map<OpenConnection, number>()
  let closed = false

  const stopBeats = repeatEach(beatSeconds, () => {
    for (const [connection, since] of open) {
      if (performance.now() - since > longestMs) connection.end()
      else connection.beat()
    }
  })

  /** A key that was switched off, removed, or given fewer rights or another secret gets no more events. */
  async function review (): Promise<void> {
    const byKey = new Map<string, OpenConnection[]>()
    for (const connection of open.keys()) {
      const { keyId } = connection.principal
      if (keyId !== null) byKey.set(keyId, [...byKey.get(keyId) ?? [], connection])
    }
    for (const [keyId, connections] of byKey) {
      const holder = await accessKeys.holder(keyId).catch(() => null)
      for (const connection of connections) {
        if (holder === null || !keepsRights(connection.principal, holder)) connection.end()
      }
    }
  }

  function onMessage (channel: string): void {
    if (channel === keys.channel('access-keys')) review().catch(() => {})
  }
  subscriber.on('message', onMessage)

  return {
    admit () {
      if (closed) throw new ServiceError('shutting_down', 'The service is about to stop; connect again in a moment.')
      if (open.size < most) return
      throw new ServiceError('too_many_listeners', `${most} listeners are connected already; try again later.`)
    },
    add (connection) {
      open.set(connection, performance.now())
      connection.signal.addEventListener('abort', () => { open.delete(connection) }, { once: true })
      if (connection.signal.aborted) open.delete(connection)
      if (closed) connection.end()
    },
    count: () => open.size,
    close () {
      closed = true
      stopBeats()
      subscriber.off('message', onMessage)
      for (const connection of [...open.keys()]) connection.end()
    }
  }
}

function keepsRights (before: Principal, now: Principal): boolean {
  return before.rotations === now.rotations && [...before.scopes].every(scope => mayDo(now, scope))
}
