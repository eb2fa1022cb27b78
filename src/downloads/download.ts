import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { ModelType } from '../models/model.ts'
import type { Keys } from '../redis/keys.ts'

/** What is to be downloaded. */
export interface DownloadOrder {
  readonly source: 'civitai' | 'huggingface'
  readonly url: string
  readonly modelName: string
  readonly type: ModelType
  /** Version at Civitai. */
  readonly versionId: number | null
  /** In the folder of its type. */
  readonly filename: string
  /** Of the whole file, lower case; null where the source does not tell. */
  readonly sha256: string | null
}

export const downloadStatuses = ['pending', 'downloading', 'completed', 'failed', 'cancelled'] as const
export type DownloadStatus = (typeof downloadStatuses)[number]

/** A download as Redis holds it. Moments are milliseconds since the epoch, sizes bytes. */
export interface Download extends DownloadOrder {
  readonly id: string
  readonly status: DownloadStatus
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
  /** Lets a download in one of these states enter another; whether it was in one of them. */
  move (id: string, from: readonly DownloadStatus[], to: DownloadStatus, change?: DownloadChange): Promise<boolean>
}

// KEYS: record. ARGV: number of states that may be left, those states, the new state, then fields and values.
const moveDownload = /* lua */ `
local status = redis.call('HGET', KEYS[1], 'status')
local count = tonumber(ARGV[1])
for index = 2, count + 1 do
  if ARGV[index] == status then
    redis.call('HSET', KEYS[1], 'status', ARGV[count + 2], unpack(ARGV, count + 3))
    return 1
  end
end
return 0
`

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
      await redis.multi()
        .hset(recordKey(id), { order: JSON.stringify(order), status: 'pending', createdAt })
        .zadd(listKey, createdAt, id)
        .exec()
      return await require(id)
    },
    async list () {
      const ids = await redis.zrevrange(listKey, 0, 999)
      return (await Promise.all(ids.map(find))).filter(found => found !== null)
    },
    async move (id, from, to, change = {}) {
      const fields = Object.entries(change).flatMap(([name, value]) => [name, value === null ? '' : String(value)])
      return await redis.eval(moveDownload, 1, recordKey(id), from.length, ...from, to, ...fields) === 1
    }
  }
}
