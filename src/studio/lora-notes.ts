import type { Redis } from 'ioredis'
import type { LoraEdit } from '../../schemas/studio-lora.ts'
import { fieldsOf } from '../a1111/json-values.ts'
import { bareName } from '../a1111/names.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'

export type LoraEdits = Readonly<Partial<Record<keyof LoraEdit, unknown>>> & LoraEdit

/** What people wrote of LoRAs, beside the catalogue of models. */
export interface LoraNotes {
  edits (): Promise<ReadonlyMap<string, LoraEdits>>
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
  const editsKey = keys.key('studio', 'loras', 'edits')

  return {
    async edits () {
      const texts = Object.entries(await redis.hgetall(editsKey))
      return new Map(texts.map(([name, text]) => [name, JSON.parse(text) as LoraEdits]))
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
