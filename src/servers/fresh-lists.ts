import type { Redis } from 'ioredis'
import type { A1111Client } from '../a1111/client.ts'
import { checkCompatibility } from '../a1111/compatibility.ts'
import type { Compatibility, CompatibilityRequest, OnMissing } from '../a1111/resolve.ts'
import { readLists } from '../a1111/inventory.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import type { Inventory, ListName, ServerTraits } from '../a1111/types.ts'
import type { Keys } from '../lib/keys.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import type { Server } from './registry.ts'
import type { ServerStateStore } from './state-store.ts'

/** Lists that are filled when a model is loaded, which some servers do with their first generation. */
const filledLate: ReadonlySet<ListName> = new Set(['embeddings', 'styles', 'vaes'])

/**
 * What a server that has just come back still lacks, as far as visible: routes that answered before, lists that had
 * entries, and for an unknown server the parts that its kind loads last.
 * @param before the last accepted inventory; null for a server that was never seen
 */
export function missingAtStart (
  before: Inventory | null, now: Inventory, traits: Pick<ServerTraits, 'kind' | 'simulates'>
): ListName[] {
  if (before === null) return now.missing.filter(name => rulesOf(traits).mountedLast.includes(name))
  return listNames.filter(name => !before.missing.includes(name) &&
    (now.missing.includes(name) || (!filledLate.has(name) && isLost(before, now, name))))
}

/** Lists that had entries and are empty now. */
export function lostLists (before: Inventory, now: Inventory): ListName[] {
  return listNames.filter(name => isLost(before, now, name))
}

/** The inventory with the named lists as they were before. */
export function withListsOf (before: Inventory, now: Inventory, names: readonly ListName[]): Inventory {
  const kept = Object.fromEntries(names.map(name => [name, before[name]]))
  return { ...now, ...kept, missing: now.missing.filter(name => !names.includes(name)) }
}

const listNames: readonly ListName[] = [
  'checkpoints', 'samplers', 'schedulers', 'upscalers', 'latentUpscaleModes', 'vaes', 'loras', 'embeddings', 'styles',
  'scripts', 'controlNetModels', 'controlNetModules'
]

function isLost (before: Inventory, now: Inventory, name: ListName): boolean {
  return lengthOf(before, name) > 0 && lengthOf(now, name) === 0
}

function lengthOf (inventory: Inventory, name: ListName): number {
  const { txt2img, img2img } = inventory.scripts
  return name === 'scripts' ? txt2img.length + img2img.length : inventory[name].length
}

const words: Readonly<Partial<Record<ListName, string>>> = {
  latentUpscaleModes: 'latent upscale modes',
  loras: 'LoRAs',
  vaes: 'VAEs',
  controlNetModels: 'ControlNet models',
  controlNetModules: 'ControlNet modules'
}

/** The lists, for people. */
export function inWords (names: readonly ListName[]): string {
  return names.map(name => words[name] ?? name).join(', ')
}

/** Python's errors for requests to a server whose scripts have no default arguments yet. */
const unfinished = /list assignment index out of range|missing \d+ required positional arguments?|not enough values to unpack/i

/** Whether an unfinished start, and not the request, can be the cause of an error. */
export function mayBeOfStart (message: string): boolean {
  return unfinished.test(message)
}

/** Looks up names at a server; before it refuses one, it reads the list there again. */
export interface FreshLists {
  /**
   * Null while the server is unknown.
   * @throws ServiceError as `checkCompatibility`
   */
  checkCompatibility (
    server: Reachable,
    request: CompatibilityRequest,
    onMissing: OnMissing
  ): Promise<Compatibility | null>
  /** Whether a server is known to lack something that the request names; asks no server. */
  lacks (serverId: string, request: CompatibilityRequest, onMissing: OnMissing): Promise<boolean>
  /** The inventory with the server's current version of these lists, if they can be read again now. */
  readAgain (server: Reachable, lists: readonly ListName[]): Promise<Inventory | null>
}

type Reachable = Pick<Server, 'id' | 'alias' | 'address'>

export interface FreshListsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly states: ServerStateStore
  readonly connect: (server: Pick<Server, 'address'>) => A1111Client
  readonly log: Log
}

/** Least time between two readings of one list of one server, by all processes together, in milliseconds. */
const readAgainAfter = 2000
/** A client waits for this. */
const refreshCall = { timeoutMs: 5000 }

/** Lists that a server reads once, and the routes that make it scan its disk again. */
const refreshes: Readonly<Partial<Record<ListName, string>>> = {
  loras: '/sdapi/v1/refresh-loras', checkpoints: '/sdapi/v1/refresh-checkpoints', vaes: '/sdapi/v1/refresh-vae'
}
/** A generation that misses a LoRA during the scan reads the list again itself; the other routes wait for its end. */
const harmless: ReadonlySet<ListName> = new Set(['loras'])

export function createFreshLists ({ redis, keys, states, connect, log }: FreshListsDependencies): FreshLists {
  const reading = new Map<string, Promise<Inventory | null>>()

  /** The lists that can be read again now. */
  async function due (serverId: string, lists: readonly ListName[]): Promise<ListName[]> {
    const claims = await Promise.all(lists.map(async list =>
      await redis.set(keys.key('server', serverId, 'read-again', list), '1', 'PX', readAgainAfter, 'NX')))
    return lists.filter((_list, index) => claims[index] === 'OK')
  }

  async function readAgain (
    server: Reachable, lists: readonly ListName[]
  ): Promise<Inventory | null> {
    const [state, known] = await Promise.all([states.read(server.id), states.freshInventory(server.id)])
    if (state?.traits == null || known === null || state.reachable !== 'yes') return known
    const now = await due(server.id, lists)
    if (now.length === 0) return known
    const client = connect(server)
    try {
      await refresh(client, now)
      const { inventory: read, loraFacts } = await readLists(client, state.traits, known, new Set(now))
      // The monitor finds out whether missing entries are really gone.
      const inventory = withListsOf(known, read, lostLists(known, read))
      await states.writeInventory(server.id, inventory, loraFacts)
      return inventory
    } catch (error) {
      log.debug({ server: server.alias, lists: now, err: error }, 'lists could not be read again')
      return known
    } finally {
      client.close().catch(() => undefined)
    }
  }

  async function refresh (client: A1111Client, lists: readonly ListName[]): Promise<void> {
    for (const list of lists) {
      const path = refreshes[list]
      if (path === undefined) continue
      if (!harmless.has(list) && (await client.progress(null, refreshCall)).busy) continue
      await client.postJson(path, {}, refreshCall).catch(() => undefined) // the list can be new anyway
    }
  }

  /** All requests that miss a name of the same lists wait for the same reading. */
  async function together (server: Reachable, lists: readonly ListName[]) {
    const key = [server.id, ...lists].join()
    const read = reading.get(key) ?? readAgain(server, lists).finally(() => { reading.delete(key) })
    reading.set(key, read)
    return await read
  }

  return {
    readAgain: together,
    async lacks (serverId, request, onMissing) {
      const [inventory, traits] = await Promise.all([states.inventory(serverId), states.traits(serverId)])
      if (inventory === null || traits === null) return false
      try {
        checkCompatibility(request, { inventory, traits }, onMissing)
        return false
      } catch (error) {
        if (error instanceof ServiceError && error.status === 422) return true
        throw error
      }
    },
    async checkCompatibility (server, request, onMissing) {
      let [inventory, traits] = await Promise.all([states.inventory(server.id), states.traits(server.id)])
      const read = new Set<ListName>()
      for (;;) {
        if (inventory === null || traits === null) return null
        const missed = new Set<ListName>()
        const known = { inventory, traits }
        const outcome = attempt(() => checkCompatibility(request, known, onMissing, lists => {
          for (const list of lists) if (!read.has(list)) missed.add(list)
        }))
        if (missed.size === 0) return outcome()
        for (const list of missed) read.add(list)
        inventory = await together(server, [...missed])
      }
    }
  }
}

/** The outcome of the work, for later use: its value or its error. */
function attempt<Value> (work: () => Value): () => Value {
  try {
    const value = work()
    return () => value
  } catch (error) {
    return () => { throw error }
  }
}
