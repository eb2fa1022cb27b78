import type { Redis } from 'ioredis'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript, type Script, type ScriptArgument } from '../redis/scripts.ts'
import type { Delivery, WebhookEntry } from './delivery.ts'

/** The state of endpoints, and their present calls; one step each, so that limits hold over all processes. */
function load<Args extends readonly ScriptArgument[], Answer> (name: string): Script<[prefix: string], Args, Answer> {
  return loadScript(new URL(`scripts/${name}.lua`, import.meta.url))
}

export const enterEndpoint = load<[
  endpoint: string, key: string, shownUrl: string, slot: string, now: number, slotLifetimeMs: number, perKey: number,
  perEndpoint: number, keptMs: number, name: string
], [kind: 'enter' | 'gone' | 'disabled' | 'busy' | 'open', waitMs: number]>('enter-endpoint')

const takeWaiting = load<[endpoint: string, key: string, now: number, perKey: number, perEndpoint: number],
  string | null>('take-waiting')

export const leaveEndpoint = load<[
  endpoint: string, key: string, slot: string, now: number, outcome: 'success' | 'failure' | 'gone' | 'none',
  calmUntil: number, failures: number, spanMs: number, firstPauseMs: number, longestPauseMs: number,
  disabledAfterMs: number, goneMs: number
], 1>('leave-endpoint')

const enableEndpoint = load<[endpoint: string], 0 | 1>('enable-endpoint')

/** One address of one access key. Times are in milliseconds since the epoch. */
export interface Endpoint {
  readonly id: string
  readonly url: string
  readonly keyId: string | null
  readonly state: 'ok' | 'failing' | 'open' | 'gone' | 'disabled'
  readonly failures: number
  readonly failingSince: number | null
  readonly openUntil: number | null
  readonly succeededAt: number | null
  readonly usedAt: number
}

/** Whether it can be called now. The caller decides how long to wait if it is busy. */
export type Compatibility =
  | { readonly kind: 'enter' | 'gone' | 'disabled' | 'busy' }
  | { readonly kind: 'open', readonly waitMs: number }

export type EndpointOutcome = 'success' | 'failure' | 'gone' | 'none'

type SlotUser = Pick<Delivery, 'id' | 'round' | 'endpoint' | 'keyId' | 'shownUrl'>

/** Target of a delivery, and its access key. */
export type Receiver = Pick<Delivery, 'endpoint' | 'keyId'>

export interface Endpoints {
  /**
   * Takes a slot of the endpoint and one of its key; after entering, the caller must leave. A caller that gets `busy`
   * is recorded as waiting.
   */
  enter (delivery: SlotUser): Promise<Compatibility>
  /** The caller that has waited longest for a slot there, if one is free now; it is returned once. */
  takeWaiting (receiver: Receiver): Promise<WebhookEntry | null>
  /** @param calm whether it asked for fewer calls: then it gets one at a time for a minute */
  leave (delivery: SlotUser, outcome: EndpointOutcome, pace: 'usual' | 'calm'): Promise<void>
  /** Null if nothing was sent there lately. */
  find (id: string): Promise<Endpoint | null>
  /** @throws ServiceError `endpoint_not_found` */
  get (id: string): Promise<Endpoint>
  /** Most recently used first, at most 1000. @param keyId null for those of all keys */
  list (keyId: string | null): Promise<Endpoint[]>
  /** Sends there again, despite former failures. @throws as `get` */
  enable (id: string): Promise<Endpoint>
}

export interface EndpointLimits {
  readonly perKey: number
  readonly perEndpoint: number
  /** Longest time for which a slot is held, in milliseconds: longer than any attempt. */
  readonly slotLifetime: number
}

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
/** Ten failures over two minutes open it for a minute, doubled up to an hour; five days of them disable it. */
const breaker = { failures: 10, span: 2 * minute, firstPause: minute, longestPause: hour, disabledAfter: 5 * day }
const goneLasts = day
const calmLasts = minute
const remembered = 7 * day
const maxListed = 1000

export function createEndpoints (
  redis: Redis, keys: Keys, limits: EndpointLimits, now: () => number = Date.now
): Endpoints {
  const prefix: [string] = [keys.key('')]
  const recordKey = (id: string) => keys.key('webhook-endpoint', id)

  async function find (id: string): Promise<Endpoint | null> {
    const fields = await redis.hgetall(recordKey(id))
    return fields.url === undefined ? null : parseEndpoint(id, fields, now())
  }

  async function get (id: string): Promise<Endpoint> {
    const endpoint = await find(id)
    if (endpoint === null) throw new ServiceError('endpoint_not_found', `There is no endpoint ${id.slice(0, 64)}.`)
    return endpoint
  }

  return {
    async enter ({ id, round, endpoint, keyId, shownUrl }) {
      const [kind, waitMs] = await enterEndpoint(redis, prefix, [endpoint, keyId ?? '', shownUrl, id, now(),
        limits.slotLifetime, limits.perKey, limits.perEndpoint, remembered, `${id} ${round}`])
      return kind === 'open' ? { kind, waitMs } : { kind }
    },
    async takeWaiting ({ endpoint, keyId }) {
      const name = await takeWaiting(redis, prefix,
        [endpoint, keyId ?? '', now(), limits.perKey, limits.perEndpoint])
      const [id, round] = name?.split(' ') ?? []
      return id === undefined ? null : { id, round: Number(round) }
    },
    async leave ({ id, endpoint, keyId }, outcome, pace) {
      await leaveEndpoint(redis, prefix, [endpoint, keyId ?? '', id, now(), outcome,
        pace === 'calm' ? now() + calmLasts : 0, breaker.failures, breaker.span, breaker.firstPause,
        breaker.longestPause, breaker.disabledAfter, goneLasts])
    },
    find,
    get,
    async list (keyId) {
      const index = keys.key('webhook-endpoints', keyId ?? '*')
      await redis.zremrangebyscore(index, '-inf', String(now() - remembered))
      const ids = await redis.zrange(index, '0', String(maxListed - 1), 'REV')
      const found = await Promise.all(ids.map(find))
      return found.filter(endpoint => endpoint !== null)
    },
    async enable (id) {
      await enableEndpoint(redis, prefix, [id])
      return await get(id)
    }
  }
}

function parseEndpoint (id: string, fields: Readonly<Record<string, string>>, now: number): Endpoint {
  const timestamp = (text: string | undefined) => text === undefined ? null : Number(text)
  const failures = Number(fields.failures ?? 0)
  const openUntil = timestamp(fields.openUntil)
  const standing = (): Endpoint['state'] => {
    if (Number(fields.goneUntil ?? 0) > now) return 'gone'
    if (fields.disabled === '1') return 'disabled'
    if (openUntil !== null && openUntil > now) return 'open'
    return failures > 0 ? 'failing' : 'ok'
  }
  return {
    id,
    url: fields.url ?? '',
    keyId: fields.key || null,
    state: standing(),
    failures,
    failingSince: timestamp(fields.failingSince),
    openUntil,
    succeededAt: timestamp(fields.succeeded),
    usedAt: Number(fields.used)
  }
}
