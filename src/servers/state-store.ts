import type { Redis } from 'ioredis'
import { sameSetting } from '../a1111/infotext-parameters.ts'
import { type LoraFacts, loraFileOf } from '../a1111/inventory.ts'
import { splitHash } from '../a1111/names.ts'
import type { Inventory, ServerTraits } from '../a1111/types.ts'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { type JsonObject, textOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import { type CostStore, createCostStore } from './cost-model.ts'
import { createLearnedTraitsStore, type LearnedTraitsStore } from './learned-traits.ts'
import { createLoraFactsStore, type LoraFactsStore } from './lora-facts.ts'
import type { Server, ServerState } from './registry.ts'

/**
 * Marks by which running generations can be recognised at a server that cannot tell tasks apart. They are stored so
 * that after a crash of this process the next one knows which generations are ours.
 */
export interface GenerationMarks {
  /** Null if the job was sent and never recognised; undefined if none of its generations is running. */
  find (serverId: string, jobId: string): Promise<string | null | undefined>
  /** @param mark null: it was sent, and is not recognised yet */
  write (serverId: string, jobId: string, mark: string | null): Promise<void>
  /** It was answered, or never reached the server. */
  remove (serverId: string, jobId: string): Promise<void>
  forget (serverId: string): Promise<void>
}

function createGenerationMarks (redis: Redis, keys: Keys): GenerationMarks {
  const keyOf = (serverId: string) => keys.key('server', serverId, 'generations')

  return {
    async find (serverId, jobId) {
      const text = await redis.hget(keyOf(serverId), jobId)
      return text === null ? undefined : text === '' ? null : text
    },
    async write (serverId, jobId, mark) {
      await redis.hset(keyOf(serverId), jobId, mark ?? '')
    },
    async remove (serverId, jobId) {
      await redis.hdel(keyOf(serverId), jobId)
    },
    async forget (serverId) {
      await redis.del(keyOf(serverId))
    }
  }
}

/** One probe of a server. */
export interface HealthSample {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly reachable: ServerState['reachable']
  /** How long it took to answer, in milliseconds; null if it did not. */
  readonly responseMs: number | null
}

/** The state of a server over the last day, readable by every process. */
interface ServerHistories {
  add (serverId: string, sample: HealthSample): Promise<void>
  /** Oldest first, none older than a day. */
  read (serverId: string): Promise<HealthSample[]>
  forget (serverId: string): Promise<void>
}

const day = 86_400_000
/** One sample a minute makes 1,440 a day; the rest is for changes in between. */
const maxSamples = 2000

const letters = { yes: 'y', no: 'n', unauthorized: 'u', suspected: 's' } as const
const states = { y: 'yes', n: 'no', u: 'unauthorized', s: 'suspected' } as const

/** Samples are a few bytes of text each, in a list of bounded length. */
function createServerHistories (redis: Redis, keys: Keys): ServerHistories {
  const samplesKey = (serverId: string) => keys.key('server', serverId, 'samples')
  return {
    async add (serverId, { at, reachable, responseMs }) {
      const text = `${at} ${letters[reachable]} ${responseMs ?? ''}`
      await redis.multi()
        .rpush(samplesKey(serverId), text)
        .ltrim(samplesKey(serverId), -maxSamples, -1)
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

/** A setting that jobs overrode. */
export interface LentSetting {
  /** Its value before, which applies to all other requests. */
  readonly before: unknown
  /** The values that jobs set, the latest last. */
  readonly values: readonly unknown[]
}

/**
 * The stored part of a server's options, so that even after a crash no job's value is mistaken for its owner's choice.
 */
export interface KeptOptions {
  readonly baseUrl: string
  /** The checkpoint that people selected there; null: not yet known. */
  readonly selection: string | null
  /** Checkpoints of jobs that can still be selected there. */
  readonly open: readonly string[]
  /** All checkpoints of jobs since the server started: its config file can have been saved while one of them ran. */
  readonly used: readonly string[]
  readonly lent: Readonly<Record<string, LentSetting>>
}

export interface KeptOptionsStore {
  /** Null before the first job. */
  read (serverId: string): Promise<KeptOptions | null>
  write (serverId: string, kept: KeptOptions): Promise<void>
  forget (serverId: string): Promise<void>
}

function createKeptOptionsStore (redis: Redis, keys: Keys): KeptOptionsStore {
  const keyOf = (serverId: string) => keys.key('server', serverId, 'options')
  return {
    async read (serverId) {
      const text = await redis.get(keyOf(serverId))
      return text === null ? null : parseJsonText(text) as KeptOptions
    },
    async write (serverId, kept) { await redis.set(keyOf(serverId), stringifyJson(kept)) },
    async forget (serverId) { await redis.del(keyOf(serverId)) }
  }
}

/**
 * A server's options for people and for jobs without overrides: without the values that a job of ours overrides.
 *
 * @param kept the stored values before and after the options were read, since a job can begin or finish meanwhile
 */
export function optionsForPeople (options: JsonObject, kept: ReadonlyArray<KeptOptions | null>): JsonObject {
  const changed: Record<string, unknown> = {}
  for (const known of kept) {
    if (known === null) continue
    for (const [name, { before, values }] of Object.entries(known.lent)) {
      const now = options[name]
      if (sameSetting(now, before) || !values.some(value => sameSetting(now, value))) continue
      changed[name] = before
    }
    const seen = textOf(options.sd_model_checkpoint)
    const { selection, open } = known
    if (seen === null || selection === null || splitHash(seen).name === splitHash(selection).name) continue
    if (!open.includes(splitHash(seen).name)) continue
    changed.sd_model_checkpoint = selection
    // the hash of the loaded file
    changed.sd_checkpoint_hash = ''
  }
  return Object.keys(changed).length === 0 ? options : { ...options, ...changed }
}

/** The last known state and inventory of each server, readable by every process. */
export interface ServerStateStore {
  read (serverId: string): Promise<ServerState | null>
  /** The known traits of a server, at most a second old. Null before the first successful probe. */
  traits (serverId: string): Promise<ServerTraits | null>
  /** The known state of a server, at most a second old if it has ever answered. */
  recent (serverId: string): Promise<ServerState | null>
  readMany (serverIds: readonly string[]): Promise<Array<ServerState | null>>
  write (serverId: string, state: ServerState): Promise<void>
  /** Null before the first successful probe. Without the metadata of LoRAs, which `loraFacts` has. */
  inventory (serverId: string): Promise<Inventory | null>
  /**
   * The same, but this process's copy however old it is. For the moment at which a server is free: it must not wait for
   * Redis, and preparing the job has renewed the copy.
   */
  lastInventory (serverId: string): Promise<Inventory | null>
  /** The same, without this process's copy. */
  freshInventory (serverId: string): Promise<Inventory | null>
  /** @param facts the metadata of its LoRAs; if omitted, the known metadata stays */
  writeInventory (serverId: string, inventory: Inventory, facts?: LoraFacts | null): Promise<void>
  readonly history: ServerHistories
  /** The costs of generations there. */
  readonly costs: CostStore
  /** The traits of each, learned from work with it. */
  readonly learned: LearnedTraitsStore
  readonly marks: GenerationMarks
  /** The metadata that each reports for its LoRAs. */
  readonly loraFacts: LoraFactsStore
  /** The values that jobs can have left in its options. */
  readonly options: KeptOptionsStore
  /** Publishes once that a draining server runs nothing more, if that is so. */
  noteDrained (server: Pick<Server, 'id' | 'alias' | 'drainingAt'>): Promise<void>
  forget (serverId: string): Promise<void>
}

/** How long a process uses its own copy of an inventory or of traits, in milliseconds. */
const trustedFor = 1000

const writeState = loadScript<[prefix: string], [serverId: string, state: string, data: string], null>(
  new URL('scripts/write-state.lua', import.meta.url))

const noteDrained = loadScript<[prefix: string], [serverId: string, since: number, data: string], 0 | 1>(
  new URL('scripts/note-drained.lua', import.meta.url))

/** What a process has read of servers. An inventory can be large: each process parses one version once. */
export interface StateCopies {
  readonly inventories: Map<string, { text: string, inventory: Inventory, checkedAt: number }>
  readonly states: Map<string, { state: ServerState, checkedAt: number }>
}

export function createStateCopies (): StateCopies {
  return { inventories: new Map(), states: new Map() }
}

/** @param copies stores of one process over several connections can share them, so that none asks again at once */
export function createServerStateStore (
  redis: Redis, keys: Keys, { inventories: copies, states: known } = createStateCopies()
): ServerStateStore {
  const stateKey = (serverId: string) => keys.key('server', serverId, 'state')
  const inventoryKey = (serverId: string) => keys.key('server', serverId, 'inventory')
  const history = createServerHistories(redis, keys)
  const costs = createCostStore(redis, keys)
  const learned = createLearnedTraitsStore(redis, keys)
  const marks = createGenerationMarks(redis, keys)
  const options = createKeptOptionsStore(redis, keys)
  const loraFacts = createLoraFactsStore(redis, keys)
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

  async function recent (serverId: string): Promise<ServerState | null> {
    const copy = known.get(serverId)
    if (copy !== undefined && performance.now() - copy.checkedAt < trustedFor) return copy.state
    const state = parse(await redis.get(stateKey(serverId)))
    // Traits that a server has never reported can come at any time.
    if (state?.traits != null) known.set(serverId, { state, checkedAt: performance.now() })
    return state
  }

  return {
    async read (serverId) {
      return parse(await redis.get(stateKey(serverId)))
    },
    traits: async serverId => (await recent(serverId))?.traits ?? null,
    recent,
    async readMany (serverIds) {
      if (serverIds.length === 0) return []
      return (await redis.mget(...serverIds.map(stateKey))).map(parse)
    },
    async write (serverId, state) {
      const { reachable, lastError } = state
      const data = { reachable, ...(lastError === null ? {} : { reason: lastError.slice(0, 500) }) }
      await writeState(redis, [keys.key('')], [serverId, JSON.stringify(state), JSON.stringify(data)])
      known.delete(serverId)
    },
    inventory: readInventory,
    lastInventory: async serverId => copies.get(serverId)?.inventory ?? await readInventory(serverId),
    async freshInventory (serverId) {
      copies.delete(serverId)
      return await readInventory(serverId)
    },
    async writeInventory (serverId, inventory, facts = null) {
      copies.delete(serverId)
      if (facts !== null) {
        const { loras } = inventory
        await loraFacts.write(serverId, loras, facts)
        if (loras.every(lora => facts.has(loraFileOf(lora)))) {
          await loraFacts.begin(serverId, loras)
          await loraFacts.end(serverId, loras)
        }
      }
      await redis.set(inventoryKey(serverId), JSON.stringify(inventory))
    },
    history,
    costs,
    learned,
    marks,
    loraFacts,
    options,
    async noteDrained ({ id, alias, drainingAt }) {
      if (drainingAt !== null) await noteDrained(redis, [keys.key('')], [id, drainingAt, JSON.stringify({ alias })])
    },
    async forget (serverId) {
      copies.delete(serverId)
      known.delete(serverId)
      await history.forget(serverId)
      await costs.forget(serverId)
      await learned.forget(serverId)
      await marks.forget(serverId)
      await options.forget(serverId)
      await loraFacts.forget(serverId)
      const others = ['answers', 'drained'].map(name => keys.key('server', serverId, name))
      await redis.del(stateKey(serverId), inventoryKey(serverId), ...others)
    }
  }
}
