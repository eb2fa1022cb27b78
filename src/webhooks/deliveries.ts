import type { Redis } from 'ioredis'
import type { DeliveryState } from '../../schemas/webhook.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript, type Script, type ScriptArgument } from '../redis/scripts.ts'
import {
  type Delivery, type DeliveryAttempt, type DeliveryChange, type NewDelivery, parseDelivery, toFields
} from './delivery.ts'

/**
 * Changes of deliveries, one script each. Listeners get each change at once; clients that missed it find it in the
 * lists.
 */
function load<Args extends readonly ScriptArgument[], Answer> (name: string): Script<[prefix: string], Args, Answer> {
  return loadScript(new URL(`scripts/${name}.lua`, import.meta.url))
}

export const createDelivery = load<[id: string, key: string, job: string, created: number, ...fields: ScriptArgument[]],
  0 | 1>('create-delivery')

export const changeDelivery = load<[
  id: string, round: number, state: DeliveryState, reason: string, nextAt: number | '', now: number, attempt: string,
  status: number | '', failures: 0 | 1
], 0 | 1>('change-delivery')

const renewDelivery = load<[id: string, now: number], number>('renew-delivery')

const removeDelivery = load<[id: string], 0 | 1>('remove-delivery')

/** Start and limits of a page of a list. */
export interface DeliveryFilter {
  /** Only those of this access key. */
  readonly keyId?: string
  readonly state?: DeliveryState
  /** Milliseconds since the epoch; `until` is not included. */
  readonly since?: number
  readonly until?: number
  readonly fits: (delivery: Delivery) => boolean
}

export interface DeliveryPage {
  readonly deliveries: readonly Delivery[]
  /** Start of the next page; null at the end. */
  readonly nextOffset: number | null
}

/** The record of every delivery: the truth that the queue follows. */
export interface Deliveries {
  /** Whether it was new. */
  create (delivery: NewDelivery): Promise<boolean>
  find (id: string): Promise<Delivery | null>
  /** @throws ServiceError `delivery_not_found` */
  get (id: string): Promise<Delivery>
  readMany (ids: readonly string[]): Promise<Delivery[]>
  attempts (id: string): Promise<DeliveryAttempt[]>
  /**
   * Writes the outcome. False if it has finished meanwhile, or was begun again: then nothing is written.
   * @param attempt the HTTP try that led to it, if there was one
   */
  change (delivery: Pick<Delivery, 'id' | 'round'>, change: DeliveryChange, attempt?: DeliveryAttempt): Promise<boolean>
  /** Begins to send it again, with a fresh schedule, and returns the round's number. @throws as `get` */
  renew (id: string): Promise<number>
  /** Newest first. Reads a limited number of records, so a page can be short although more follow. */
  list (filter: DeliveryFilter, offset: number, limit: number): Promise<DeliveryPage>
  /** Newest first. */
  ofJob (jobId: string): Promise<Delivery[]>
  /** Ids of undelivered ones, oldest first. */
  pending (offset: number, limit: number): Promise<string[]>
  /** Deletes those from before a time, in steps; returns their number. */
  forgetBefore (timestamp: number): Promise<number>
}

const page = 200
/** Most records that one page of a filtered list looks at. */
const maxLookedAt = 2000

export function createDeliveries (redis: Redis, keys: Keys, now: () => number = Date.now): Deliveries {
  const prefix: [string] = [keys.key('')]
  const index = (keyId: string, state: string) => keys.key('deliveries', keyId, state)
  const recordKey = (id: string) => keys.key('delivery', id)
  const notFound = (id: string) => new ServiceError('delivery_not_found', `There is no delivery ${id.slice(0, 64)}.`)

  async function find (id: string): Promise<Delivery | null> {
    return parseDelivery(await redis.hgetall(recordKey(id)))
  }

  async function readMany (ids: readonly string[]): Promise<Delivery[]> {
    if (ids.length === 0) return []
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.hgetall(recordKey(id))
    const replies = await pipeline.exec() ?? []
    return replies.flatMap(([error, fields]) => {
      if (error) throw error
      return parseDelivery(fields as Record<string, string>) ?? []
    })
  }

  return {
    async create (delivery) {
      const { id, keyId, jobId, createdAt } = delivery
      return await createDelivery(redis, prefix,
        [id, keyId ?? '', jobId ?? '', createdAt, ...Object.entries(toFields(delivery)).flat()]) === 1
    },
    find,
    readMany,
    async get (id) {
      const delivery = await find(id)
      if (delivery === null) throw notFound(id)
      return delivery
    },
    async attempts (id) {
      const texts = await redis.lrange(`${recordKey(id)}:attempts`, 0, -1)
      return texts.map(text => JSON.parse(text) as DeliveryAttempt)
    },
    async change ({ id, round }, { state, reason, nextAt }, attempt) {
      return await changeDelivery(redis, prefix, [id, round, state, reason ?? '', nextAt ?? '', now(),
        attempt === undefined ? '' : JSON.stringify(attempt), attempt?.status ?? '', state === 'delivered' ? 0 : 1]) === 1
    },
    async renew (id) {
      const round = await renewDelivery(redis, prefix, [id, now()])
      if (round < 0) throw notFound(id)
      return round
    },
    async list ({ keyId, state, since, until, fits }, offset, limit) {
      const from = index(keyId ?? '*', state ?? '*')
      const found: Delivery[] = []
      for (let at = offset; at < offset + maxLookedAt; at += page) {
        const ids = await redis.zrange(from, until === undefined ? '+inf' : `(${until}`, String(since ?? '-inf'),
          'BYSCORE', 'REV', 'LIMIT', at, page)
        for (const [position, delivery] of (await readMany(ids)).entries()) {
          if (!fits(delivery)) continue
          found.push(delivery)
          if (found.length === limit) return { deliveries: found, nextOffset: at + position + 1 }
        }
        if (ids.length < page) return { deliveries: found, nextOffset: null }
      }
      return { deliveries: found, nextOffset: offset + maxLookedAt }
    },
    async ofJob (jobId) {
      return await readMany(await redis.zrange(keys.key('job', jobId, 'deliveries'), '0', '-1', 'REV'))
    },
    async pending (offset, limit) {
      return await redis.zrange(index('*', 'pending'), String(offset), String(offset + limit - 1))
    },
    async forgetBefore (timestamp) {
      let forgotten = 0
      for (;;) {
        const ids = await redis.zrange(index('*', '*'), '-inf', `(${timestamp}`, 'BYSCORE', 'LIMIT', '0', page)
        for (const id of ids) await removeDelivery(redis, prefix, [id])
        forgotten += ids.length
        if (ids.length < page) return forgotten
      }
    }
  }
}
