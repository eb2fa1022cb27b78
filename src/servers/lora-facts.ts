import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { type LoraFacts, loraFileOf } from '../a1111/inventory.ts'
import type { Inventory } from '../a1111/types.ts'
import type { Keys } from '../lib/keys.ts'
import { createSemaphore, type Semaphore } from '../lib/semaphore.ts'
import { type ModelFacts, noFacts } from '../model-facts/facts.ts'

/**
 * The metadata that servers report for their LoRAs. It is separate from the inventory, which every job reads and which
 * needs only names.
 */
export interface LoraFactsStore {
  /** Changes with every change of the facts. */
  version (serverId: string): Promise<string>
  /** By `loraFileOf`, without LoRAs that have no facts. */
  read (serverId: string): Promise<ReadonlyMap<string, ModelFacts>>
  /** Writes changes, and removes missing LoRAs. Those that `loraFacts` does not name stay as they are. */
  write (serverId: string, loras: Inventory['loras'], loraFacts: LoraFacts): Promise<void>
  /**
   * Whether all of their metadata is to be read: it never was, or the list differs from then, or that is six hours ago,
   * or somebody asked for it. Not within ten minutes of a reading of the same list that has begun and did not succeed.
   */
  isDue (serverId: string, loras: Inventory['loras']): Promise<boolean>
  /** A reading of all of it begins, for this list. */
  begin (serverId: string, loras: Inventory['loras']): Promise<void>
  /** All of it was read and is written. One that was asked for since `begin` is still due. */
  end (serverId: string, loras: Inventory['loras']): Promise<void>
  /** It is to be read once more, with the next inventory. */
  askAgain (serverId: string): Promise<void>
  /** Runs the work when no other of this process reads all of that server's metadata. */
  exclusively<Value> (serverId: string, work: () => Promise<Value>, signal?: AbortSignal): Promise<Value>
  forget (serverId: string): Promise<void>
}

/** Records that are read and compared at once, so that thousands of them do not block other work. */
const atOnce = 200
/** For so long the metadata of a list that stays the same is believed, in milliseconds. */
const trustedFor = 6 * 3_600_000
/** Before that it is not tried again where it could not be read. */
const retryAfter = 600_000

export function createLoraFactsStore (redis: Redis, keys: Keys): LoraFactsStore {
  const factsKey = (serverId: string) => keys.key('server', serverId, 'lora-facts')
  const versionKey = (serverId: string) => keys.key('server', serverId, 'lora-facts-version')
  /** The list whose metadata was read, until it is to be read again. */
  const readKey = (serverId: string) => keys.key('server', serverId, 'lora-facts-read')
  const semaphores = new Map<string, Semaphore>()
  const copies = new Map<string, { version: string, facts: ReadonlyMap<string, ModelFacts> }>()

  const version = async (serverId: string) => await redis.get(versionKey(serverId)) ?? '0'

  /** The texts of these fields, in pieces. */
  async function * texts (serverId: string, fields: readonly string[]): AsyncGenerator<Array<[string, string | null]>> {
    for (let from = 0; from < fields.length; from += atOnce) {
      const some = fields.slice(from, from + atOnce)
      const found = await redis.hmget(factsKey(serverId), ...some)
      yield some.map((field, index) => [field, found[index] ?? null])
    }
  }

  return {
    version,
    async read (serverId) {
      const present = await version(serverId)
      const copy = copies.get(serverId)
      if (copy?.version === present) return copy.facts
      const facts = new Map<string, ModelFacts>()
      for await (const some of texts(serverId, await redis.hkeys(factsKey(serverId)))) {
        for (const [field, text] of some) {
          if (text !== null) facts.set(field, { ...noFacts, ...JSON.parse(text) as Partial<ModelFacts> })
        }
      }
      copies.set(serverId, { version: present, facts })
      return facts
    },
    async write (serverId, loras, loraFacts) {
      const files = new Set(loras.map(loraFileOf))
      const withFacts = [...loraFacts.keys()].filter(file => loraFacts.get(file) !== null && files.has(file))
      const present = await redis.hkeys(factsKey(serverId))
      const gone = present.filter(file => !files.has(file) || loraFacts.get(file) === null)
      const changes = redis.multi()
      let changed = gone.length
      for await (const some of texts(serverId, withFacts)) {
        const different = some.flatMap(([file, before]) => {
          const text = JSON.stringify(said(loraFacts.get(file) ?? noFacts))
          return text === before ? [] : [file, text]
        })
        if (different.length > 0) changes.hset(factsKey(serverId), ...different)
        changed += different.length
      }
      if (changed === 0) return
      if (gone.length > 0) changes.hdel(factsKey(serverId), ...gone)
      await changes.incr(versionKey(serverId)).exec()
    },
    isDue: async (serverId, loras) => await redis.get(readKey(serverId)) !== digestOf(loras),
    async begin (serverId, loras) {
      await redis.set(readKey(serverId), digestOf(loras), 'PX', retryAfter)
    },
    async end (serverId, loras) {
      await redis.set(readKey(serverId), digestOf(loras), 'PX', trustedFor, 'XX')
    },
    async askAgain (serverId) {
      await redis.del(readKey(serverId))
    },
    async exclusively (serverId, work, signal) {
      const semaphore = semaphores.get(serverId) ?? createSemaphore(1)
      semaphores.set(serverId, semaphore)
      return await semaphore.run(work, signal)
    },
    async forget (serverId) {
      copies.delete(serverId)
      semaphores.delete(serverId)
      await redis.del(factsKey(serverId), versionKey(serverId), readKey(serverId))
    }
  }
}

/** Stays the same where a server lists the same files in another order. */
function digestOf (loras: Inventory['loras']): string {
  const lines = loras.map(({ name, path, alias }) => JSON.stringify([name, path, alias])).sort()
  return createHash('sha256').update(lines.join('\n')).digest('hex')
}

/** The facts without empty ones. */
function said (facts: ModelFacts): Partial<ModelFacts> {
  return Object.fromEntries(Object.entries(facts).filter(([, value]) =>
    value !== null && !(Array.isArray(value) && value.length === 0)))
}
