import type { Redis } from 'ioredis'
import type { Inventory } from '../a1111/types.ts'
import type { Keys } from '../redis/keys.ts'
import { createServerHistories, type ServerHistories } from './history.ts'
import type { ServerState } from './server.ts'

/** What was last heard of each server, and what each has, for every process to read. */
export interface ServerStateStore {
  read (serverId: string): Promise<ServerState | null>
  readMany (serverIds: readonly string[]): Promise<Array<ServerState | null>>
  write (serverId: string, state: ServerState): Promise<void>
  /** Null before the first successful probe. */
  inventory (serverId: string): Promise<Inventory | null>
  writeInventory (serverId: string, inventory: Inventory): Promise<void>
  readonly history: ServerHistories
  forget (serverId: string): Promise<void>
}

/** How long a process trusts its own copy of an inventory, in milliseconds. */
const inventoryTrustedFor = 1000

export function createServerStateStore (redis: Redis, keys: Keys): ServerStateStore {
  const stateKey = (serverId: string) => keys.key('server', serverId, 'state')
  const inventoryKey = (serverId: string) => keys.key('server', serverId, 'inventory')
  const history = createServerHistories(redis, keys)
  // An inventory can be large; each process parses one version once.
  const copies = new Map<string, { text: string, inventory: Inventory, checkedAt: number }>()

  const parse = (text: string | null | undefined) => text ? JSON.parse(text) as ServerState : null

  return {
    async read (serverId) {
      return parse(await redis.get(stateKey(serverId)))
    },
    async readMany (serverIds) {
      if (serverIds.length === 0) return []
      return (await redis.mget(...serverIds.map(stateKey))).map(parse)
    },
    async write (serverId, state) {
      await redis.set(stateKey(serverId), JSON.stringify(state))
    },
    async inventory (serverId) {
      const copy = copies.get(serverId)
      if (copy !== undefined && Date.now() - copy.checkedAt < inventoryTrustedFor) return copy.inventory
      const text = await redis.get(inventoryKey(serverId))
      if (text === null) return null
      const inventory = copy?.text === text ? copy.inventory : JSON.parse(text) as Inventory
      copies.set(serverId, { text, inventory, checkedAt: Date.now() })
      return inventory
    },
    async writeInventory (serverId, inventory) {
      copies.delete(serverId)
      await redis.set(inventoryKey(serverId), JSON.stringify(inventory))
    },
    history,
    async forget (serverId) {
      copies.delete(serverId)
      await history.forget(serverId)
      await redis.del(stateKey(serverId), inventoryKey(serverId))
    }
  }
}
