import type { Redis } from 'ioredis'
import type { A1111Client } from '../a1111/client.ts'
import { GenerationFailure } from '../a1111/types.ts'
import type { Model } from '../models/model.ts'
import { longestPicture, pictureOf, type PictureContent } from '../models/read-picture.ts'
import type { Keys } from '../redis/keys.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { Server } from '../servers/server.ts'

/** Pictures that lie beside LoRAs at servers, which a folder of this machine does not show. */
export interface LoraPreviews {
  /** Null where no server has one, or none can be reached. */
  read (model: Model): Promise<PictureContent | null>
  /** Ids of models of which it was found lately that no server has a picture. */
  without (): Promise<ReadonlySet<string>>
  /** Looks anew for what was not there. */
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
/** For so long it is believed that there is none, in milliseconds. */
const believedMs = 24 * 60 * 60 * 1000

/**
 * Servers give them to their own pages, without saying which there are, so they are looked for by name when somebody
 * wants to see one. Servers that run without pages (`--nowebui`) give none.
 */
export function createLoraPreviews ({ redis, keys, registry, connect }: LoraPreviewsDependencies): LoraPreviews {
  const withoutKey = keys.key('studio', 'loras', 'without-preview')

  async function readFrom (server: Server, path: string): Promise<PictureContent | null | 'unreachable'> {
    const client = connect(server)
    try {
      for (const ending of endings) {
        const name = path.replace(/\.[^./\\]+$/, '') + ending
        const bytes = await client.readBytes(`/sd_extra_networks/thumb?filename=${encodeURIComponent(name)}`,
          { maxAnswerBytes: longestPicture }).catch(answeredNo)
        if (bytes !== null) return pictureOf(bytes, new Date())
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

/** A1111 answers 404 for what is not there, 500 for what lies outside of its folders. */
function answeredNo (error: unknown): null {
  const isNo = error instanceof GenerationFailure && (error.failureClass === 'request' || error.code === 'server_error')
  if (isNo) return null
  throw error
}
