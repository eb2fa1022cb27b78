import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { ServiceError } from '../errors.ts'
import type { ModelType } from '../models/model.ts'
import { announceLua } from '../events/announce.ts'
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
  /**
   * Rises with each cancellation. What is still running of a cancelled one belongs to the round before: it can neither
   * go on as the one that was begun again, nor touch its file.
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
  /** Forgets those that ended before a moment, in milliseconds since the epoch; how many it was. */
  forgetEndedBefore (moment: number): Promise<number>
  /**
   * Lets a download in one of these states enter another; whether it was in one of them, and in this round where one
   * is given.
   */
  move (
    download: Pick<Download, 'id'> & Partial<Pick<Download, 'round'>>, from: readonly DownloadStatus[],
    to: DownloadStatus, change?: DownloadChange
  ): Promise<boolean>
}

/**
 * What listeners hear when a download has come to a state. Progress is told live: while it goes on, more follows.
 * KEYS[1] is the common beginning of every key.
 */
const tell = announceLua + /* lua */ `
local function recordKey (id) return KEYS[1] .. 'download:' .. id end
local function tell (id)
  local known = redis.call('HMGET', recordKey(id), 'order', 'status', 'received', 'size', 'problem')
  local order, status = cjson.decode(known[1]), known[2]
  local data = {
    download_id = id, filename = order.filename, type = order.type, status = status,
    bytes_received = tonumber(known[3] or '') or 0, bytes_total = tonumber(known[4] or ''),
    error_message = known[5] and known[5] ~= '' and known[5] or nil
  }
  if status == 'downloading' then return announceLive('download-progress', '', '', '', '', data) end
  announce('download-' .. (status == 'pending' and 'added' or status), '', '', '', '', data)
end
`

/** ARGV: id, order, moment. */
const createDownload = tell + /* lua */ `
local id, order, moment = unpack(ARGV)
redis.call('HSET', recordKey(id), 'order', order, 'status', 'pending', 'createdAt', moment)
redis.call('ZADD', KEYS[1] .. 'downloads', moment, id)
tell(id)
`

/** ARGV: id, round or '' for any, the new state, number of states that may be left, those states, fields and values. */
const moveDownload = tell + /* lua */ `
local id, round, to, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local status = redis.call('HGET', recordKey(id), 'status')
if round ~= '' and round ~= (redis.call('HGET', recordKey(id), 'round') or '0') then return 0 end
for index = 5, count + 4 do
  if ARGV[index] == status then
    redis.call('HSET', recordKey(id), 'status', to, unpack(ARGV, count + 5))
    if to == 'cancelled' then redis.call('HINCRBY', recordKey(id), 'round', 1) end
    tell(id)
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
      await redis.eval(createDownload, 1, keys.key(''), id, JSON.stringify(order), createdAt)
      return await require(id)
    },
    async list () {
      const ids = await redis.zrevrange(listKey, 0, 999)
      return (await Promise.all(ids.map(find))).filter(found => found !== null)
    },
    async forgetEndedBefore (moment) {
      // One cannot have ended before it began.
      const ids = await redis.zrange(listKey, '-inf', `(${moment}`, 'BYSCORE')
      const ended = (await Promise.all(ids.map(find))).flatMap(found =>
        found?.endedAt != null && found.endedAt < moment ? [found.id] : [])
      if (ended.length > 0) await redis.multi().zrem(listKey, ...ended).del(...ended.map(recordKey)).exec()
      return ended.length
    },
    async move ({ id, round }, from, to, change = {}) {
      const fields = Object.entries(change).flatMap(([name, value]) => [name, value === null ? '' : String(value)])
      const state = [id, round ?? '', to, from.length, ...from]
      return await redis.eval(moveDownload, 1, keys.key(''), ...state, ...fields) === 1
    }
  }
}
