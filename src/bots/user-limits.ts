import type { Redis } from 'ioredis'
import type { Config } from '../config/settings.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import { plainUserId, userKey, type BotUser } from './user-scope.ts'

/** Limits that the owner of an application sets for its users. */
export interface UserRules {
  /** Pixels of one image in its first pass. */
  readonly maxPixels: number
  /** Pixels of one upscaled image. */
  readonly maxEnlargedPixels: number
  /** Generations of one batch. */
  readonly maxInBatch: number
  /**
   * Reserves slots for jobs that are about to be submitted together, as one request of the user.
   * @throws ServiceError 429 `user_jobs_limit` or `user_cooldown`
   */
  enter (user: BotUser, jobIds: readonly string[]): Promise<void>
  /** Releases the slots of jobs that were not submitted. */
  leave (user: BotUser, jobIds: readonly string[]): Promise<void>
  /** @throws ServiceError `blocked_word` naming the field */
  checkWords (texts: Readonly<Record<string, string>>): void
}

export type UserRuleSettings = Pick<Config,
  'STUDIO_JOBS_PER_USER' | 'STUDIO_COOLDOWN_SECONDS' | 'STUDIO_EXEMPT_USERS' | 'STUDIO_MAX_MEGAPIXELS' |
  'STUDIO_UPSCALE_MEGAPIXELS' | 'STUDIO_BLOCKED_WORDS' | 'STUDIO_BATCH_LIMIT'>

/** A slot without its job is free again after this time, in milliseconds: its submission has failed. */
const placeWithin = 60_000

const takePlaces = loadScript<[prefix: string, places: string],
  [most: number, cooldownMs: number, withinMs: number, ...jobIds: string[]], [taken: number, waitMs: number]>(
  new URL('scripts/take-places.lua', import.meta.url))

export function createUserRules (redis: Redis, keys: Keys, settings: UserRuleSettings): UserRules {
  const {
    STUDIO_JOBS_PER_USER: most, STUDIO_COOLDOWN_SECONDS: cooldown, STUDIO_EXEMPT_USERS: exempt,
    STUDIO_MAX_MEGAPIXELS: megapixels, STUDIO_BLOCKED_WORDS: blocked
  } = settings
  const free = new Set(exempt.map(plainUserId))
  const isFree = (user: BotUser) => (most === 0 && cooldown === 0) || free.has(user.id)
  const placesKey = (user: BotUser) => userKey(keys, user, 'places')
  const blockedWords = blocked.map(word => ({ word, pattern: wordPattern(word) }))

  return {
    maxPixels: megapixels * 1_000_000,
    maxEnlargedPixels: settings.STUDIO_UPSCALE_MEGAPIXELS * 1_000_000,
    maxInBatch: settings.STUDIO_BATCH_LIMIT,
    async enter (user, jobIds) {
      if (isFree(user)) return
      const [taken, wait] = await takePlaces(redis, [keys.key(''), placesKey(user)],
        [most, cooldown * 1000, placeWithin, ...jobIds])
      if (wait > 0) {
        const seconds = Math.ceil(wait / 1000)
        throw new ServiceError('user_cooldown', `Please wait ${seconds} s before the next generation.`, { retry_after: seconds })
      }
      if (taken >= 0) {
        throw new ServiceError('user_jobs_limit', `This user has ${taken} unfinished generations and can have ${most} at ` +
          'a time; wait for one of them to finish, or cancel it.', { active: taken, limit: most })
      }
    },
    async leave (user, jobIds) {
      if (!isFree(user)) await redis.zrem(placesKey(user), ...jobIds)
    },
    checkWords (texts) {
      for (const [field, text] of Object.entries(texts)) {
        const plain = text.normalize('NFKC')
        const found = blockedWords.find(({ pattern }) => pattern.test(plain))
        if (found !== undefined) throw new ServiceError('blocked_word', `${field} must not contain "${found.word}".`, { field })
      }
    }
  }
}

/** Matches the word as a whole, in any case; a blank in it matches any separators. */
function wordPattern (word: string): RegExp {
  const literal = word.normalize('NFKC').trim().replace(/[.*+?^${}()|[\]\\/]/g, '\\$&').replace(/\s+/g, '[\\s_-]+')
  return new RegExp(`(?<![\\p{L}\\p{N}])${literal}(?![\\p{L}\\p{N}])`, 'iu')
}
