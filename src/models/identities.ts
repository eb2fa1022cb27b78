import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { JoinedModel } from './join.ts'
import { placeOf } from './places.ts'

/** Gives every model a number that it keeps while one of its hashes or paths stays the same. */
export interface Identities {
  /** One number for each model, in their order; no two get the same. */
  assign (models: readonly JoinedModel[]): Promise<number[]>
}

const nameModel = loadScript<[ids: string, counter: string], string[], number>(
  new URL('scripts/name-model.lua', import.meta.url))

export function createIdentities (redis: Redis, keys: Keys): Identities {
  const idsKey = keys.key('model-ids')
  const counterKey = keys.key('model-ids', 'last')

  async function name (marks: readonly string[]): Promise<number> {
    return await nameModel(redis, [idsKey, counterKey], marks)
  }

  return {
    async assign (models) {
      if (models.length === 0) return []
      const known = await redis.hgetall(idsKey)
      const taken = new Set<number>()
      const ids: number[] = []
      for (const model of models) {
        const marks = marksOf(model)
        const free = marks.map(mark => known[mark]).find(id => id !== undefined && !taken.has(Number(id)))
        const complete = marks.every(mark => known[mark] !== undefined)
        let id = free === undefined ? undefined : Number(free)
        if (id === undefined) {
          // two models at one path, told apart by their hashes: the mark must be theirs alone
          const own = marks.filter(mark => known[mark] === undefined)
          id = await name(own.length > 0 ? own : [`again:${marks.join('|')}`])
          if (taken.has(id)) id = await name([`again:${marks.join('|')}`])
        } else if (!complete) {
          const news = marks.filter(mark => known[mark] === undefined)
          await redis.hset(idsKey, Object.fromEntries(news.map(mark => [mark, String(free)])))
        }
        for (const mark of marks) known[mark] ??= String(id)
        taken.add(id)
        ids.push(id)
      }
      return ids
    }
  }
}

/**
 * What tells a model: its hash, then its paths, of which those with the hash of its tensors tell LoRAs of one path
 * apart, and last that hash alone.
 */
function marksOf ({ type, shortHash, tensorHashes, files, reported }: JoinedModel): string[] {
  const places = [...new Set([...files, ...reported].map(({ path }) => placeOf(path)))].sort()
  const tensors = [...tensorHashes].sort()
  return [
    ...shortHash === null ? [] : [`hash:${type}:${shortHash}`],
    ...tensors.flatMap(hash => places.map(place => `tensors:${type}:${hash}:${place}`)),
    ...places.map(place => `path:${type}:${place}`),
    ...tensors.map(hash => `tensors:${type}:${hash}`)
  ]
}
