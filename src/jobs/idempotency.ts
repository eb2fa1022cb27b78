import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'

/** What a request with an Idempotency-Key stands for. */
export interface KeyedRequest {
  /** Whose key it is; two owners may use the same text. */
  readonly owner: string
  /** As the client sent it; undefined does the work unconditionally. */
  readonly key: string | undefined
  /** Which work is asked for, such as `bulk`: its answers fit no other. */
  readonly operation: string
  readonly body: unknown
}

/** What a repeated request is answered with. */
export interface FirstAnswer<Answer> {
  readonly repeated: boolean
  readonly answer: Answer
}

export interface Idempotency {
  /**
   * Does the work once per owner and key, and gives every request with that key the same answer.
   *
   * `work` gets the id that belongs to the key for good, and whether another request began with it before and has
   * not answered: then it may be under way now or may have crashed halfway, so what has that id may exist already.
   * A request that turns out to be wrong frees the key, so that it can be corrected.
   * @throws ServiceError `idempotency_key_reused` when the key came with another request before
   */
  once<Answer> (request: KeyedRequest, newId: () => string,
    work: (id: string, begun: boolean) => Promise<Answer>): Promise<FirstAnswer<Answer>>
}

const longestKey = 255

// KEYS: entry. ARGV: id, fingerprint, lifetime in ms. Answers the id, fingerprint and answer that are in force.
const claimKey = /* lua */ `
if redis.call('HSETNX', KEYS[1], 'id', ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return redis.call('HMGET', KEYS[1], 'id', 'fingerprint', 'answer')
`

// KEYS: entry. ARGV: id, answer. The first answer stays; says which one it is.
const keepAnswer = /* lua */ `
if redis.call('HGET', KEYS[1], 'id') ~= ARGV[1] then return ARGV[2] end
redis.call('HSETNX', KEYS[1], 'answer', ARGV[2])
return redis.call('HGET', KEYS[1], 'answer')
`

// KEYS: entry. ARGV: id.
const freeKey = /* lua */ `
if redis.call('HGET', KEYS[1], 'id') == ARGV[1] and redis.call('HEXISTS', KEYS[1], 'answer') == 0 then
  redis.call('DEL', KEYS[1])
end
`

/** @param lifetimeHours how long a key is remembered */
export function createIdempotency (redis: Redis, keys: Keys, lifetimeHours: number): Idempotency {
  return {
    async once ({ owner, key, operation, body }, newId, work) {
      type Answer = Awaited<ReturnType<typeof work>>
      if (key === undefined) return { repeated: false, answer: await work(newId(), false) }
      if (key.trim() === '' || key.length > longestKey) {
        throw new ServiceError('invalid_field_value', `Idempotency-Key must have 1 to ${longestKey} characters.`,
          { field: 'Idempotency-Key' })
      }
      const digest = (text: string) => createHash('sha256').update(text).digest('base64url')
      const entry = keys.key('idempotency', digest(`${owner}\n${key}`))
      const fingerprint = digest(stringifyJson([operation, body]))
      const fresh = newId()
      const [id, known, answer] = await redis.eval(claimKey, 1, entry, fresh, fingerprint,
        lifetimeHours * 3_600_000) as [string, string, string | null]
      if (known !== fingerprint) {
        throw new ServiceError('idempotency_key_reused',
          'This Idempotency-Key was used with another request before; take a new one.', { field: 'Idempotency-Key' })
      }
      if (answer !== null) return { repeated: true, answer: parseJsonText(answer) as Answer }
      try {
        const done = stringifyJson(await work(id, id !== fresh))
        const kept = await redis.eval(keepAnswer, 1, entry, id, done) as string
        return { repeated: kept !== done, answer: parseJsonText(kept) as Answer }
      } catch (error) {
        if (isWrongRequest(error)) await redis.eval(freeKey, 1, entry, id)
        throw error
      }
    }
  }
}

/** Whether the same request would be refused again and again, so that nothing was or will be made of it. */
function isWrongRequest (error: unknown): boolean {
  return error instanceof ServiceError && [400, 404, 422].includes(error.status)
}
