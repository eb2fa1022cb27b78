import type { Redis } from 'ioredis'
import type { LoraEdit } from '../../schemas/bots-settings.ts'
import type { A1111Client } from '../a1111/client.ts'
import { bareName } from '../a1111/names.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { fieldsOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import type { Model } from '../model-facts/facts.ts'
import { maxImageBytes, type ImageContent, imageOf } from '../models/images.ts'
import { loadScript } from '../redis/scripts.ts'
import type { Server, ServerRegistry } from '../servers/registry.ts'

export type LoraEdits = Readonly<Partial<Record<keyof LoraEdit, unknown>>> & LoraEdit

/** People's edits of LoRAs, beside the catalogue of models. */
export interface LoraMetadataStore {
  edits (): Promise<ReadonlyMap<string, LoraEdits>>
  /** Merges an edit into the former ones; null removes a field. */
  edit (filename: string, edit: LoraEdit): Promise<void>
}

const replaceEdits = loadScript<[edits: string], [name: string, before: string, after: string], 0 | 1>(
  new URL('scripts/replace-edits.lua', import.meta.url))

/** One file name means one LoRA in whatever folder, as in tags of prompts. */
export function loraKey (filename: string): string {
  return bareName(filename).toLowerCase()
}

export function createLoraMetadataStore (redis: Redis, keys: Keys): LoraMetadataStore {
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

/** Previews beside LoRAs on servers' disks, which no folder of this machine has. */
export interface LoraPreviews {
  /** Null if no server has one, or none is reachable. */
  read (model: Model): Promise<ImageContent | null>
  /** Ids of models for which no server had a preview at the last look. */
  without (): Promise<ReadonlySet<string>>
  /** Looks again for previews that were missing. */
  forget (): Promise<void>
}

export interface LoraPreviewsDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly registry: Pick<ServerRegistry, 'byId'>
  readonly connect: (server: Server) => A1111Client
}

/** Endings in the order in which A1111 and Forge look for a preview (`find_preview` of their extra networks). */
const endings = ['png', 'jpg', 'jpeg', 'webp'].flatMap(ending => [`.${ending}`, `.preview.${ending}`])
/** How long a missing preview is remembered, in milliseconds. */
const believedMs = 24 * 60 * 60 * 1000

/**
 * Servers serve previews to their own pages, without a list, so this looks for them by name on request. Servers without
 * pages (`--nowebui`) serve none.
 */
export function createLoraPreviews ({ redis, keys, registry, connect }: LoraPreviewsDependencies): LoraPreviews {
  const withoutKey = keys.key('studio', 'loras', 'without-preview')

  async function readFrom (server: Server, path: string): Promise<ImageContent | null | 'unreachable'> {
    const client = connect(server)
    try {
      for (const ending of endings) {
        const name = path.replace(/\.[^./\\]+$/, '') + ending
        const bytes = await client.readBytes(`/sd_extra_networks/thumb?filename=${encodeURIComponent(name)}`,
          { maxAnswerBytes: maxImageBytes }).catch(answeredNo)
        if (bytes !== null) return imageOf(bytes, new Date())
      }
      return null
    } catch (error) {
      return error instanceof GenerationFailure && error.code === 'route_missing' ? null : 'unreachable'
    } finally {
      await client.close()
    }
  }

  return {
    async read (model) {
      const outcomes = []
      for (const { serverId, absolutePath } of placesOf(model)) {
        const server = registry.byId(serverId)
        const found = server === undefined ? null : await readFrom(server, absolutePath)
        if (found !== null && found !== 'unreachable') return found
        outcomes.push(found)
      }
      if (!outcomes.includes('unreachable')) await redis.zadd(withoutKey, Date.now(), String(model.id))
      return null
    },
    async without () {
      return new Set(await redis.zrangebyscore(withoutKey, Date.now() - believedMs, '+inf'))
    },
    async forget () {
      await redis.del(withoutKey)
    }
  }
}

/** Where servers have it, each with the path on its own disk. */
export function placesOf ({ reported }: Pick<Model, 'reported'>): Model['reported'] {
  return reported.filter(({ absolutePath }) => absolutePath !== '')
}

/** A1111 answers 404 for a missing file, 500 for one outside of its folders. */
function answeredNo (error: unknown): null {
  const isNo = error instanceof GenerationFailure && (error.failureClass === 'request' || error.code === 'server_error')
  if (isNo) return null
  throw error
}
