import type { Redis } from 'ioredis'
import type { LoraEdit } from '../../schemas/studio-lora.ts'
import { fieldsOf, textOf, type JsonObject } from '../a1111/json-values.ts'
import { bareName } from '../a1111/names.ts'
import { embeddedFacts } from '../models/embedded-facts.ts'
import type { ModelFacts } from '../models/model.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** What a server told of a LoRA beyond its inventory. */
export interface ToldLora {
  readonly facts: ModelFacts
  /** First 12 digits of the hash of its tensors, by which Civitai knows it. */
  readonly autoV3: string | null
}

export type LoraEdits = Readonly<Partial<Record<keyof LoraEdit, unknown>>> & LoraEdit

/** What is known of LoRAs beside the catalogue of models: read out of servers, and written by people. */
export interface LoraNotes {
  told (): Promise<ReadonlyMap<string, ToldLora>>
  edits (): Promise<ReadonlyMap<string, LoraEdits>>
  /** How many of them say something else than before. */
  tell (told: ReadonlyMap<string, ToldLora>): Promise<number>
  /** Lays an edit over those of before; null takes a field back. */
  edit (filename: string, edit: LoraEdit): Promise<void>
}

const replaceEdits = loadScript<[edits: string], [name: string, before: string, after: string], 0 | 1>(
  new URL('scripts/replace-edits.lua', import.meta.url))

/** One file name stands for one LoRA wherever it lies, as tags in prompts name it. */
export function loraKey (filename: string): string {
  return bareName(filename).toLowerCase()
}

export function createLoraNotes (redis: Redis, keys: Keys): LoraNotes {
  const toldKey = keys.key('studio', 'loras', 'told')
  const editsKey = keys.key('studio', 'loras', 'edits')
  const read = async <Value>(key: string): Promise<ReadonlyMap<string, Value>> =>
    new Map(Object.entries(await redis.hgetall(key)).map(([name, text]) => [name, JSON.parse(text) as Value]))

  return {
    told: async () => await read<ToldLora>(toldKey),
    edits: async () => await read<LoraEdits>(editsKey),
    async tell (told) {
      if (told.size === 0) return 0
      const before = await redis.hmget(toldKey, ...told.keys())
      const changed = [...told].filter(([, value], index) => before[index] !== JSON.stringify(value))
      if (changed.length > 0) {
        await redis.hset(toldKey, Object.fromEntries(changed.map(([name, value]) => [name, JSON.stringify(value)])))
      }
      return changed.filter(([name]) => before[[...told.keys()].indexOf(name)] !== null).length
    },
    async edit (filename, edit) {
      const key = loraKey(filename)
      for (;;) {
        const text = await redis.hget(editsKey, key)
        const before = fieldsOf(JSON.parse(text ?? '{}'))
        const after = Object.fromEntries(Object.entries({ ...before, ...edit }).filter(([, value]) => value !== null))
        const written = Object.keys(after).length === 0 ? '' : JSON.stringify(after)
        if (await replaceEdits(redis, [editsKey], [key, text ?? '', written]) === 1) return
      }
    }
  }
}

/** What the training left in a file, as a server's list of LoRAs shows it. */
export function toldLora (metadata: JsonObject): ToldLora {
  const facts = embeddedFacts({ metadata, tensorNames: [], end: null })
  const trainedOn = textOf(metadata.ss_sd_model_name)
  const hash = textOf(metadata.sshs_model_hash)
  return {
    facts: { ...facts, description: facts.description ?? (trainedOn === null ? null : `Trained on ${trainedOn}`) },
    autoV3: hash === null || !/^[0-9a-f]{12,}$/i.test(hash) ? null : hash.slice(0, 12).toLowerCase()
  }
}
