import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { Keys } from '../redis/keys.ts'

/** What a repeated request is answered with. */
export interface FirstAnswer<Answer> {
  readonly repeated: boolean
  readonly answer: Answer
}

export interface Idempotency {
  /**
   * Does the work once per owner and key. `work` gets the id that belongs to the key for good, so that a repeat
   * after a crash creates the same thing; a repeat after an answer gets that answer.
   * @param key as the client sent it; undefined does the work unconditionally
   * @param request what the key stands for
   * @throws ServiceError `idempotency_key_reused` when the key came with another request before
   */
  once<Answer> (owner: string, key: string | undefined, request: unknown, newId: () => string,
    work: (id: string) => Promise<Answer>): Promise<FirstAnswer<Answer>>
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

/** @param lifetimeHours how long a key is remembered */
export function createIdempotency (redis: Redis, keys: Keys, lifetimeHours: number): Idempotency {
  return {
    async once (owner, key, request, newId, work) {
      if (key === undefined) return { repeated: false, answer: await work(newId()) }
      if (key.trim() === '' || key.length > longestKey) {
        throw new ServiceError('invalid_field_value', `Idempotency-Key must have 1 to ${longestKey} characters.`,
          { field: 'Idempotency-Key' })
      }
      const digest = (text: string) => createHash('sha256').update(text).digest('base64url')
      const entry = keys.key('idempotency', digest(`${owner}\n${key}`))
      const fingerprint = digest(JSON.stringify(request))
      const [id, known, answer] = await redis.eval(claimKey, 1, entry, newId(), fingerprint,
        lifetimeHours * 3_600_000) as [string, string, string | null]
      if (known !== fingerprint) {
        throw new ServiceError('idempotency_key_reused',
          'This Idempotency-Key was used with another request before; take a new one.', { field: 'Idempotency-Key' })
      }
      if (answer !== null) return { repeated: true, answer: JSON.parse(answer) as Awaited<ReturnType<typeof work>> }
      const done = await work(id)
      await redis.hset(entry, 'answer', JSON.stringify(done))
      return { repeated: false, answer: done }
    }
  }
}
