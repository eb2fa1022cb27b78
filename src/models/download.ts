import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ServiceError } from '../lib/errors.ts'
import type { ModelType } from '../model-facts/facts.ts'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'

/** A requested download. */
export interface DownloadOrder {
  readonly source: 'civitai' | 'huggingface'
  readonly url: string
  readonly modelName: string
  readonly type: ModelType
  /** Version at Civitai. */
  readonly versionId: number | null
  /** In the folder of its type. */
  readonly filename: string
  /** Of the whole file, lower case; null if the source does not report it. */
  readonly sha256: string | null
}

export const downloadStatuses = ['pending', 'downloading', 'completed', 'failed', 'cancelled'] as const
export type DownloadStatus = (typeof downloadStatuses)[number]

/** A download as Redis holds it. Times are in milliseconds since the epoch, sizes in bytes. */
export interface Download extends DownloadOrder {
  readonly id: string
  readonly status: DownloadStatus
  /**
   * Rises with each cancellation. Work that still runs for a cancelled download belongs to the former round: it cannot
   * continue as the restarted one, nor touch its file.
   */
  readonly round: number
  readonly received: number
  readonly size: number | null
  readonly problem: string | null
  readonly createdAt: number
  readonly endedAt: number | null
}

export type DownloadChange = Partial<Pick<Download, 'received' | 'size' | 'problem' | 'endedAt'>>

export interface DownloadStore {
  create (order: DownloadOrder): Promise<Download>
  /** @throws ServiceError `download_not_found` */
  require (id: string): Promise<Download>
  /** Newest first. */
  list (): Promise<Download[]>
  /** Deletes those that finished before a time, in milliseconds since the epoch; returns their number. */
  forgetEndedBefore (timestamp: number): Promise<number>
  /**
   * Changes a download's state if it has one of these states, and this round if one is given; returns whether it did.
   */
  move (
    download: Pick<Download, 'id'> & Partial<Pick<Download, 'round'>>, from: readonly DownloadStatus[],
    to: DownloadStatus, change?: DownloadChange
  ): Promise<boolean>
}

const createDownload = loadScript<[prefix: string], [id: string, order: string, timestamp: number], null>(
  new URL('scripts/create-download.lua', import.meta.url))
const moveDownload = loadScript<
  [prefix: string],
  [id: string, round: number | '', to: DownloadStatus, count: number, ...statesThenFields: string[]],
  0 | 1
>(new URL('scripts/move-download.lua', import.meta.url))

export function createDownloadStore (redis: Redis, keys: Keys): DownloadStore {
  const listKey = keys.key('downloads')
  const recordKey = (id: string) => keys.key('download', id)

  async function find (id: string): Promise<Download | null> {
    const fields = await redis.hgetall(recordKey(id))
    if (fields.order === undefined) return null
    const number = (text: string | undefined) => text === undefined || text === '' ? null : Number(text)
    return {
      ...JSON.parse(fields.order) as DownloadOrder,
      id,
      status: fields.status as DownloadStatus,
      round: number(fields.round) ?? 0,
      received: number(fields.received) ?? 0,
      size: number(fields.size),
      problem: fields.problem || null,
      createdAt: Number(fields.createdAt),
      endedAt: number(fields.endedAt)
    }
  }

  async function require (id: string): Promise<Download> {
    const found = await find(id)
    if (found !== null) return found
    throw new ServiceError('download_not_found', `There is no download ${id}.`)
  }

  return {
    require,
    async create (order) {
      const id = randomUUID()
      const createdAt = Date.now()
      await createDownload(redis, [keys.key('')], [id, JSON.stringify(order), createdAt])
      return await require(id)
    },
    async list () {
      const ids = await redis.zrevrange(listKey, 0, 999)
      return (await Promise.all(ids.map(find))).filter(found => found !== null)
    },
    async forgetEndedBefore (timestamp) {
      // A download cannot finish before it began.
      const ids = await redis.zrange(listKey, '-inf', `(${timestamp}`, 'BYSCORE')
      const ended = (await Promise.all(ids.map(find))).flatMap(found =>
        found?.endedAt != null && found.endedAt < timestamp ? [found.id] : [])
      if (ended.length > 0) await redis.multi().zrem(listKey, ...ended).del(...ended.map(recordKey)).exec()
      return ended.length
    },
    async move ({ id, round }, from, to, change = {}) {
      const fields = Object.entries(change).flatMap(([name, value]) => [name, value === null ? '' : String(value)])
      return await moveDownload(redis, [keys.key('')], [id, round ?? '', to, from.length, ...from, ...fields]) === 1
    }
  }
}
