import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { type BytesAnswer, requestBytes } from '../lib/http/bytes.ts'
import { createHttpClient } from '../lib/http/client.ts'
import { fieldsOf, type JsonObject } from '../lib/json-values.ts'
import { parseJson } from '../lib/json.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** Spaces the requests of all processes. */
export interface RequestPacer {
  /**
   * Takes the next free slot.
   * @returns milliseconds until it comes; null if the wait is longer than `patienceMs`, and then no slot was taken
   */
  take (patienceMs: number): Promise<number | null>
  /** No slot comes before this many milliseconds have passed. */
  hold (milliseconds: number): Promise<void>
}

const takeSlot = loadScript<[nextSlot: string], [intervalMs: number, patienceMs: number], number | null>(
  new URL('scripts/take-turn.lua', import.meta.url))
const holdSlots = loadScript<[nextSlot: string], [milliseconds: number], 1>(
  new URL('scripts/hold-turns.lua', import.meta.url))

/** @param intervalMs between two requests of all processes */
export function createRequestPacer (redis: Redis, keys: Keys, intervalMs: number): RequestPacer {
  const nextSlot: [string] = [keys.key('civitai', 'next-turn')]
  return {
    take: async patienceMs => await takeSlot(redis, nextSlot, [intervalMs, patienceMs]),
    async hold (milliseconds) { await holdSlots(redis, nextSlot, [Math.ceil(milliseconds)]) }
  }
}

/**
 * Civitai's public REST API. Null means that Civitai does not know it; everything throws ServiceError
 * `civitai_unreachable`.
 */
export interface CivitaiClient {
  /** @param hash whole SHA-256, AutoV2 or AutoV3 */
  versionByHash (hash: string, freshness: Freshness): Promise<JsonObject | null>
  version (id: number, freshness: Freshness): Promise<JsonObject | null>
  model (id: number, freshness: Freshness): Promise<JsonObject | null>
  image (id: number): Promise<JsonObject | null>
  /** Owner of the key. @throws ServiceError `civitai_key_missing` also for a key that Civitai rejects */
  user (): Promise<JsonObject>
}

/** Whether a cached answer is enough. */
export type Freshness = 'kept' | 'fresh'

export interface CivitaiClientDependencies {
  readonly redis: Redis
  readonly keys: Keys
  /** Without a slash at its end. */
  readonly baseUrl: string
  /** Empty for none. */
  readonly apiKey: string
  /** Milliseconds between two requests of all processes; pauses after failures are multiples of it. */
  readonly intervalMs: number
}

const timeoutMs = 15_000
const maxBytes = 16 * 1024 * 1024
/** Longest wait for a slot, in milliseconds. */
const patienceMs = 30_000
const attempts = 3
/** How long answers are cached, in seconds; a model that Civitai does not know today can be there tomorrow. */
const keepKnown = 7 * 86_400
const keepUnknown = 3600

export function createCivitaiClient (dependencies: CivitaiClientDependencies): CivitaiClient {
  const { redis, keys, baseUrl, apiKey, intervalMs } = dependencies
  const pacer = createRequestPacer(redis, keys, intervalMs)
  const http = createHttpClient({ connectTimeoutMs: timeoutMs, keep: { connections: 4, idleMs: 4000 } })
  const authorization: Record<string, string> = apiKey === '' ? {} : { authorization: `Bearer ${apiKey}` }

  /** Asks until there is an answer other than "later". */
  async function ask (path: string): Promise<BytesAnswer> {
    let problem = ''
    for (let attempt = 1; attempt <= attempts; attempt++) {
      const wait = await pacer.take(patienceMs)
      if (wait === null) {
        throw unreachable(problem === '' ? 'too many requests wait for it already' : problem)
      }
      await sleep(wait)
      try {
        const answer = await requestBytes(http, {
          url: new URL(`${baseUrl}${path}`),
          headers: { accept: 'application/json', 'user-agent': 'StableQueue', ...authorization },
          timeoutMs,
          maxBytes
        })
        if (answer.statusCode !== 429 && answer.statusCode < 500) return answer
        problem = `it answered ${answer.statusCode}`
        await pacer.hold(pauseOf(answer) ?? intervalMs * 2 ** attempt)
      } catch (error) {
        throw unreachable(messageOf(error), error)
      }
    }
    throw unreachable(problem)
  }

  async function read (path: string, freshness: Freshness): Promise<JsonObject | null> {
    const key = keys.key('civitai', 'answer', createHash('sha256').update(`${baseUrl}${path}`).digest('hex'))
    const kept = freshness === 'kept' ? await redis.get(key) : null
    if (kept !== null) return JSON.parse(kept) as JsonObject | null
    const { statusCode: status, body } = await ask(path)
    if (status === 404) {
      await redis.set(key, 'null', 'EX', keepUnknown)
      return null
    }
    if (status !== 200) throw unreachable(`it answered ${status}`)
    const answer = fieldsOf(parsed(body))
    await redis.set(key, JSON.stringify(answer), 'EX', keepKnown)
    return answer
  }

  return {
    versionByHash: async (hash, freshness) => await read(`/model-versions/by-hash/${encodeURIComponent(hash)}`, freshness),
    version: async (id, freshness) => await read(`/model-versions/${id}`, freshness),
    model: async (id, freshness) => await read(`/models/${id}`, freshness),
    async image (id) {
      const { items } = await read(`/images?imageId=${id}`, 'kept') ?? {}
      return Array.isArray(items) && items.length > 0 ? fieldsOf(items[0]) : null
    },
    async user () {
      if (apiKey === '') {
        throw new ServiceError('civitai_key_missing', 'No key of Civitai is set; put yours into CIVITAI_API_KEY.')
      }
      const { statusCode: status, body } = await ask('/me')
      if (status === 401 || status === 403) {
        throw new ServiceError('civitai_key_missing', 'Civitai does not accept the key in CIVITAI_API_KEY; create a new one there.')
      }
      if (status !== 200) throw unreachable(`it answered ${status}`)
      return fieldsOf(parsed(body))
    }
  }
}

function parsed (body: Buffer): unknown {
  try {
    return parseJson('The answer', body)
  } catch (error) {
    throw unreachable('its answer is not JSON', error)
  }
}

/** The pause that Civitai asks for, at most a minute, in milliseconds; null if it names none. */
function pauseOf ({ headers }: BytesAnswer): number | null {
  const asked = Number(headers['retry-after'])
  return Number.isFinite(asked) && asked >= 0 ? Math.min(asked, 60) * 1000 : null
}

function unreachable (reason: string, cause?: unknown): ServiceError {
  return new ServiceError('civitai_unreachable',
    `Civitai does not answer: ${reason}. The stored metadata of the model stays.`, {}, { cause })
}
