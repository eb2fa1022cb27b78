import type { Redis } from 'ioredis'
import type { LoraFacts } from '../a1111/inventory.ts'
import type { Inventory, ServerTraits } from '../a1111/types.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import { createCostStore, type CostStore } from './cost-store.ts'
import { createGenerationMarks, type GenerationMarks } from './generation-marks.ts'
import { createServerHistories, type ServerHistories } from './history.ts'
import { createKeptOptionsStore, type KeptOptionsStore } from './kept-options.ts'
import { createLoraFactsStore, type LoraFactsStore } from './lora-facts.ts'
import { createLearnedTraitsStore, type LearnedTraitsStore } from './learned-traits.ts'
import type { ServerState } from './server.ts'

/** What was last heard of each server, and what each has, for every process to read. */
export interface ServerStateStore {
  read (serverId: string): Promise<ServerState | null>
  /** What is known of a server's nature, at most a second old. Null before the first successful probe. */
  traits (serverId: string): Promise<ServerTraits | null>
  readMany (serverIds: readonly string[]): Promise<Array<ServerState | null>>
  write (serverId: string, state: ServerState): Promise<void>
  /** Null before the first successful probe. Without what is written in LoRAs, which `loraFacts` has. */
  inventory (serverId: string): Promise<Inventory | null>
  /** The same, without a copy of this process. */
  freshInventory (serverId: string): Promise<Inventory | null>
  /** @param told what is written in its LoRAs; without, what is known of them stays */
  writeInventory (serverId: string, inventory: Inventory, told?: LoraFacts | null): Promise<void>
  readonly history: ServerHistories
  /** What generations cost there. */
  readonly costs: CostStore
  /** What was found out about each by working with it. */
  readonly learned: LearnedTraitsStore
  readonly marks: GenerationMarks
  /** What each tells of its LoRAs. */
  readonly loraFacts: LoraFactsStore
  /** What jobs may have left among its options. */
  readonly options: KeptOptionsStore
  forget (serverId: string): Promise<void>
}

/** How long a process trusts its own copy of an inventory or of traits, in milliseconds. */
const trustedFor = 1000

const writeState = loadScript<[prefix: string], [serverId: string, state: string, data: string], null>(
  new URL('scripts/write-state.lua', import.meta.url))

export function createServerStateStore (redis: Redis, keys: Keys): ServerStateStore {
  const stateKey = (serverId: string) => keys.key('server', serverId, 'state')
  const inventoryKey = (serverId: string) => keys.key('server', serverId, 'inventory')
  const history = createServerHistories(redis, keys)
  const costs = createCostStore(redis, keys)
  const learned = createLearnedTraitsStore(redis, keys)
  const marks = createGenerationMarks(redis, keys)
  const options = createKeptOptionsStore(redis, keys)
  const loraFacts = createLoraFactsStore(redis, keys)
  // An inventory can be large; each process parses one version once.
  const copies = new Map<string, { text: string, inventory: Inventory, checkedAt: number }>()

  const knownTraits = new Map<string, { traits: ServerTraits | null, checkedAt: number }>()

  const parse = (text: string | null | undefined) => text ? JSON.parse(text) as ServerState : null

  async function readInventory (serverId: string): Promise<Inventory | null> {
    const copy = copies.get(serverId)
    if (copy !== undefined && performance.now() - copy.checkedAt < trustedFor) return copy.inventory
    const text = await redis.get(inventoryKey(serverId))
    if (text === null) return null
    const inventory = copy?.text === text ? copy.inventory : JSON.parse(text) as Inventory
    copies.set(serverId, { text, inventory, checkedAt: performance.now() })
    return inventory
  }

  return {
    async read (serverId) {
      return parse(await redis.get(stateKey(serverId)))
    },
    async traits (serverId) {
      const known = knownTraits.get(serverId)
      if (known !== undefined && performance.now() - known.checkedAt < trustedFor) return known.traits
      const traits = parse(await redis.get(stateKey(serverId)))?.traits ?? null
      // What a server has never told may come at any moment.
      if (traits !== null) knownTraits.set(serverId, { traits, checkedAt: performance.now() })
      return traits
    },
    async readMany (serverIds) {
      if (serverIds.length === 0) return []
      return (await redis.mget(...serverIds.map(stateKey))).map(parse)
    },
    async write (serverId, state) {
      knownTraits.delete(serverId)
      const { reachable, lastError } = state
      const told = { reachable, ...(lastError === null ? {} : { reason: lastError.slice(0, 500) }) }
      await writeState(redis, [keys.key('')], [serverId, JSON.stringify(state), JSON.stringify(told)])
    },
    inventory: readInventory,
    async freshInventory (serverId) {
      copies.delete(serverId)
      return await readInventory(serverId)
    },
    async writeInventory (serverId, inventory, told = null) {
      copies.delete(serverId)
      if (told !== null) await loraFacts.write(serverId, inventory.loras, told)
      await redis.set(inventoryKey(serverId), JSON.stringify(inventory))
    },
    history,
    costs,
    learned,
    marks,
    loraFacts,
    options,
    async forget (serverId) {
      copies.delete(serverId)
      knownTraits.delete(serverId)
      await history.forget(serverId)
      await costs.forget(serverId)
      await learned.forget(serverId)
      await marks.forget(serverId)
      await options.forget(serverId)
      await loraFacts.forget(serverId)
      await redis.del(stateKey(serverId), inventoryKey(serverId), keys.key('server', serverId, 'answers'))
    }
  }
}
