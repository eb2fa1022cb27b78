import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { parseJsonText, stringifyJson } from '../lib/exact-json.ts'
import { hasEnded, type JobStatus } from '../../schemas/job.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { Subscription } from '../jobs/webhook-request.ts'

/** A question to Florence about an image. */
export interface FlorenceOrder {
  /** Id of the access key that asked; null for an administrator. */
  readonly keyId: string | null
  readonly imageUrl: string
  /** In Florence's words, such as `Caption` or `Object Detection`. */
  readonly task: string
  /** `Single task` or `Cascaded task`. */
  readonly mode: string
  readonly prompt: string
}

/** A question to Florence as Redis holds it. Timestamps are milliseconds since the epoch. */
export interface FlorenceTask extends FlorenceOrder {
  readonly id: string
  readonly status: JobStatus
  readonly webhook: Subscription | null
  readonly text: string | null
  /** Name of an output. */
  readonly image: string | null
  readonly problem: string | null
  readonly createdAt: number
  readonly endedAt: number | null
}

export type FlorenceChange = Partial<Pick<FlorenceTask, 'text' | 'image' | 'problem' | 'endedAt'>>

export interface FlorenceStore {
  create (id: string, order: FlorenceOrder, webhook: Subscription | null): Promise<FlorenceTask>
  find (id: string): Promise<FlorenceTask | null>
  /** Newest first, the last thousand. */
  list (): Promise<FlorenceTask[]>
  /** Moves a task from one of these states to another; returns whether it was in one of them. */
  move (id: string, from: readonly JobStatus[], to: JobStatus, change?: FlorenceChange): Promise<boolean>
}

/** Finished tasks are deleted after a day, when their images count as unused; in seconds. */
const kept = 86_400
const maxListed = 1000

const moveTask = loadScript<
  [record: string], [keepSeconds: number, count: number, ...statesThenFields: string[]], 0 | 1
>(new URL('scripts/move-task.lua', import.meta.url))

export const newFlorenceId = (): string => randomUUID()

export function createFlorenceStore (redis: Redis, keys: Keys): FlorenceStore {
  const listKey = keys.key('florence')
  const recordKey = (id: string) => keys.key('florence', id)

  async function find (id: string): Promise<FlorenceTask | null> {
    const fields = await redis.hgetall(recordKey(id))
    if (fields.order === undefined) return null
    return {
      ...parseJsonText(fields.order) as FlorenceOrder & Pick<FlorenceTask, 'webhook'>,
      id,
      status: fields.status as JobStatus,
      text: fields.text || null,
      image: fields.image || null,
      problem: fields.problem || null,
      createdAt: Number(fields.createdAt),
      endedAt: fields.endedAt ? Number(fields.endedAt) : null
    }
  }

  return {
    find,
    async create (id, order, webhook) {
      const createdAt = Date.now()
      await redis.multi()
        .hset(recordKey(id), { order: stringifyJson({ ...order, webhook }), status: 'pending', createdAt })
        .zadd(listKey, createdAt, id)
        .zremrangebyrank(listKey, 0, -maxListed - 1)
        .exec()
      return {
        ...order, id, webhook, status: 'pending', text: null, image: null, problem: null, createdAt, endedAt: null
      }
    },
    async list () {
      const ids = await redis.zrange(listKey, '0', '-1', 'REV')
      return (await Promise.all(ids.map(find))).filter(found => found !== null)
    },
    async move (id, from, to, change = {}) {
      const fields = Object.entries(change).flatMap(([name, value]) => [name, value === null ? '' : String(value)])
      const keep = hasEnded(to) ? kept : 0
      return await moveTask(redis, [recordKey(id)], [keep, from.length, ...from, to, ...fields]) === 1
    }
  }
}
