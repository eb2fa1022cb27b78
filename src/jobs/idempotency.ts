import { createHash } from 'node:crypto'
import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** A request with an Idempotency-Key. */
export interface KeyedRequest {
  /** The owner of the key; two owners can use the same text. */
  readonly owner: string
  /** The key as the client sent it; undefined does the work unconditionally. */
  readonly key: string | undefined
  /** The requested work, such as `bulk`: its answers fit no other. */
  readonly operation: string
  readonly body: unknown
}

/** The answer that all requests with a key get. */
export interface FirstAnswer<Answer> {
  /** Whether an earlier request began the work. */
  readonly repeated: boolean
  readonly answer: Answer
}

export interface Idempotency {
  /**
   * Does the work once per owner and key, and gives every request with that key the same answer.
   *
   * `work` gets the id that belongs to the key permanently, and whether an earlier request began with it and has not
   * answered: that one can still be under way or have crashed halfway, so something with that id can exist already. A
   * request that turns out to be wrong frees the key, so that the client can correct it.
   * @throws ServiceError `idempotency_key_reused` if the key came with another request before
   */
  once<Answer> (request: KeyedRequest, newId: () => string,
    work: (id: string, begun: boolean) => Promise<Answer>): Promise<FirstAnswer<Answer>>
}

const longestKey = 255

const script = (name: string) => new URL(`scripts/${name}.lua`, import.meta.url)
const claimKey = loadScript<[entry: string], [id: string, fingerprint: string, lifetimeMs: number],
  [id: string, fingerprint: string, answer: string | null]>(script('claim-key'))
const keepAnswer = loadScript<[entry: string], [id: string, answer: string], string>(script('keep-answer'))
const freeKey = loadScript<[entry: string], [id: string], null>(script('free-key'))

/** @param lifetimeHours how long keys are remembered */
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
      const entry: [string] = [keys.key('idempotency', digest(`${owner}\n${key}`))]
      const fingerprint = digest(stringifyJson([operation, body]))
      const fresh = newId()
      const [id, known, answer] = await claimKey(redis, entry, [fresh, fingerprint, lifetimeHours * 3_600_000])
      if (known !== fingerprint) {
        throw new ServiceError('idempotency_key_reused',
          'This Idempotency-Key was used with a different request before; use a new one.', { field: 'Idempotency-Key' })
      }
      if (answer !== null) return { repeated: true, answer: parseJsonText(answer) as Answer }
      try {
        const done = stringifyJson(await work(id, id !== fresh))
        const kept = await keepAnswer(redis, entry, [id, done])
        return { repeated: id !== fresh, answer: parseJsonText(kept) as Answer }
      } catch (error) {
        if (isWrongRequest(error)) await freeKey(redis, entry, [id])
        throw error
      }
    }
  }
}

/** Whether the same request would always be refused, so that it has no result and never will. */
function isWrongRequest (error: unknown): boolean {
  return error instanceof ServiceError && [400, 404, 422].includes(error.status)
}
