import type { Redis } from 'ioredis'
import type { JobStatus } from '../../schemas/job.ts'
import type { Keys } from '../lib/keys.ts'
import { ServiceError } from '../lib/errors.ts'
import { indexKey, type Job } from './job.ts'
import { matchText, readPage, readStamps, searchJobs } from './scripts/index.ts'
import { sealSearch } from './search-text.ts'
import type { JobStore } from './store.ts'

/** Selects jobs, for lists, counts and actions. */
export interface JobFilter {
  readonly keyId?: string
  readonly serverId?: string
  readonly status?: JobStatus
  /** Only jobs that arrived at or after this time, in milliseconds since the epoch. */
  readonly since?: number
  /** Only jobs that arrived before this time, in milliseconds since the epoch. */
  readonly before?: number
  /** Only jobs whose prompt contains this text, ignoring case (ASCII letters). */
  readonly text?: string
  readonly appType?: string
  /** Only jobs of this user of the interface for bots. */
  readonly user?: string
  /** Only jobs of this bulk or group. */
  readonly group?: string
  /** Only failed jobs with this error code. */
  readonly errorCode?: string
  /** Only jobs in the background; false: only others. */
  readonly background?: boolean
}

export interface JobQuery extends JobFilter {
  /** `line`: the order in which waiting jobs run; with `serverId` those that need this server or are claimed by it. */
  readonly order: 'newest' | 'oldest' | 'line'
  /** 1 to 1000. */
  readonly limit: number
  readonly offset: number
  /** Where the previous page ended; replaces an offset. */
  readonly cursor?: string
}

/** A page without the records. */
export interface IdPage {
  readonly ids: readonly string[]
  /** Number of jobs that match the filter. */
  readonly total: number
  /** The cursor of the next page; null at the end. */
  readonly nextCursor: string | null
}

export interface JobPage extends Omit<IdPage, 'ids'> {
  readonly jobs: Job[]
}

/** Tells whether a text of a job is outdated. */
export interface JobStamp {
  readonly id: string
  /** Null if there is no such job. */
  readonly status: JobStatus | null
  readonly serverId: string
  /** Differs after every change of the record. */
  readonly stamp: string
}

/** Waiting jobs whose order is read; the order behind them changes long before they run. */
const orderedAtMost = 2000

/** Records that one script searches, so that no call blocks Redis for long. */
const examinedAtOnce = 500
/** Bytes of the search text that one script looks through: a few milliseconds. */
const bytesAtOnce = 600_000

interface Slice {
  readonly skip: number
  readonly take: number
}

interface Arrived {
  readonly id: string
  /** Microseconds since the epoch. */
  readonly arrival: string
}

/** Pages through jobs by the indexes: every combination of key, server and status is one range. */
export function createJobList (redis: Redis, keys: Keys, store: JobStore) {
  let isSealing = false

  /** How many jobs the indexes find, and some of them, from the offset or behind an arrival. */
  async function range (
    query: JobFilter & Pick<JobQuery, 'order'>, after: string | undefined, offset: number, count: number
  ): Promise<{ total: number, found: Arrived[] }> {
    const order = query.order === 'newest' ? 'newest' : 'oldest'
    const [total, ...reply] = await readPage(redis, [indexKey(keys, query)],
      [order, ...boundsOf(query), after ?? '', offset, count])
    return { total, found: arrivedOf(reply) }
  }

  /** All that match, in parts: reads every record, for a search while the search text lacks jobs. */
  async function * fitting (query: JobFilter & Pick<JobQuery, 'order'>, from?: string): AsyncGenerator<Arrived[]> {
    const { text = '', appType = '', user = '' } = query
    for (let after = from, found: Arrived[] = []; ; after = found.at(-1)?.arrival) {
      found = (await range(query, after, 0, examinedAtOnce)).found
      if (found.length > 0) {
        const ids = found.map(({ id }) => id)
        const matching = hasText(query)
          ? await matchText(redis, [keys.key('')], [inLowerCase(text), appType, user, ...ids])
          : ids
        const fit = new Set(query.background === false ? await outside(matching) : matching)
        yield found.filter(({ id }) => fit.has(id))
      }
      if (found.length < examinedAtOnce) return
    }
  }

  /** Those that are not in the background. */
  async function outside (ids: string[]): Promise<string[]> {
    if (ids.length === 0) return ids
    const inLane = await redis.zmscore(indexKey(keys, { background: true }), ...ids)
    return ids.filter((_id, at) => inLane[at] === null)
  }

  /**
   * Searches the search text, in several calls, so that none blocks Redis for long.
   * @param need `page`: stops when it has all that it takes; `total`: counts the others too
   * @returns null while the search text lacks jobs
   */
  async function search (
    query: JobFilter & Pick<JobQuery, 'order'>, after: string | undefined, { skip, take }: Slice, need: 'page' | 'total'
  ): Promise<{ found: Arrived[], total: number } | null> {
    const { text = '', appType = '', user = '' } = query
    if (query.background === false) return null
    // The search text separates the parts of its entries by these.
    if (['\0', '\x01', '\x02', '\x03'].some(sign => text.includes(sign))) return null
    const order = query.order === 'newest' ? 'newest' : 'oldest'
    const [lowest, highest] = boundsOf(query)
    const bounds = after === undefined
      ? [lowest, highest] as const
      : order === 'newest' ? [lowest, after] as const : [String(Number(after) + 1), highest] as const
    const found: Arrived[] = []
    let total = 0
    for (let block = ''; ;) {
      const answer = await searchJobs(redis, [keys.key(''), indexKey(keys, query)], [inLowerCase(text), appType, user, order,
        ...bounds, block, Math.max(0, skip - total), take - found.length, bytesAtOnce])
      if (answer[0] === 'incomplete') return null
      const [following, count, ...pairs] = answer as [string, number, ...string[]]
      total += count
      found.push(...arrivedOf(pairs))
      if (following !== '') sealSoon()
      if (following === '' || (need === 'page' && found.length >= take)) return { found, total }
      block = following
    }
  }

  /** After a search that took several calls: full blocks become short. */
  function sealSoon (): void {
    if (isSealing) return
    isSealing = true
    sealSearch({ redis, keys }).catch(() => undefined).finally(() => { isSealing = false })
  }

  /** All jobs that match a filter for which the records must be read, oldest first. */
  async function examined (filter: JobFilter): Promise<Job[]> {
    const { group, errorCode, ...others } = filter
    const base: JobFilter = errorCode === undefined ? others : { ...others, status: 'failed' }
    if (errorCode !== undefined && filter.status !== undefined && filter.status !== 'failed') return []
    const ids = group === undefined ? await idsOf(base) : await redis.zrange(groupKey(keys, group), '0', '-1')
    const searched = group !== undefined && isSearched(base) ? new Set(await idsOf(base)) : null
    const found: Job[] = []
    for (let from = 0; from < ids.length; from += examinedAtOnce) {
      const some = ids.slice(from, from + examinedAtOnce).filter(id => searched?.has(id) ?? true)
      for (const job of await store.readMany(some)) {
        if (isWithin(base, job) && (errorCode === undefined || job.error?.code === errorCode)) found.push(job)
      }
    }
    return found
  }

  async function examinedPage (query: JobQuery): Promise<IdPage> {
    if (query.cursor !== undefined) {
      throw new ServiceError('invalid_field_value', 'cursor cannot be combined with group or error; use offset.', { field: 'cursor' })
    }
    const found = await examined(query)
    if (query.order === 'newest') found.reverse()
    const ids = found.slice(query.offset, query.offset + query.limit).map(({ id }) => id)
    return { ids, total: found.length, nextCursor: null }
  }

  async function idsOf (filter: JobFilter): Promise<string[]> {
    const query = { ...filter, order: 'oldest' } as const
    const all = { skip: 0, take: Number.MAX_SAFE_INTEGER }
    const searched = isSearched(filter) ? await search(query, undefined, all, 'total') : null
    if (searched !== null) return searched.found.map(({ id }) => id)
    const ids: string[] = []
    for await (const some of fitting(query)) for (const { id } of some) ids.push(id)
    return ids
  }

  async function count (filter: JobFilter): Promise<number> {
    if (isExamined(filter)) return (await examined(filter)).length
    const { background, ...others } = filter
    if (background === false && !hasText(filter)) {
      return await count(others) - await count({ ...others, background: true })
    }
    const query = { ...filter, order: 'oldest' } as const
    if (!isSearched(filter)) return (await range(query, undefined, 0, 0)).total
    const searched = await search(query, undefined, { skip: 0, take: 0 }, 'total')
    if (searched !== null) return searched.total
    let total = 0
    for await (const some of fitting(query)) total += some.length
    return total
  }

  async function plainPage (query: JobQuery): Promise<IdPage> {
    const { total, found } = await range(query, query.cursor, query.offset, query.limit + 1)
    return pageOf(found, query, 0, total)
  }

  async function searchedPage (query: JobQuery): Promise<IdPage> {
    const { cursor, limit } = query
    const skip = cursor === undefined ? query.offset : 0
    const searched = await search(query, cursor, { skip, take: limit + 1 }, cursor === undefined ? 'total' : 'page')
    if (searched !== null) {
      return pageOf(searched.found, query, 0, cursor === undefined ? searched.total : await count(query))
    }
    const found: Arrived[] = []
    let total = 0
    const isCounted = cursor === undefined && hasText(query)
    for await (const some of fitting(query, cursor)) {
      total += some.length
      if (found.length <= skip + limit) found.push(...some)
      else if (!isCounted) break
    }
    return pageOf(found, query, skip, isCounted ? total : await count(query))
  }

  /** @param found one more than the page takes, if there are more */
  function pageOf (found: readonly Arrived[], { limit }: JobQuery, offset: number, total: number): IdPage {
    const page = found.slice(offset, offset + limit)
    const nextCursor = found.length > offset + limit ? page.at(-1)?.arrival ?? null : null
    return { ids: page.map(({ id }) => id), total, nextCursor }
  }

  /** Ids of waiting jobs in their order, as far as it is read. */
  async function idsInQueue (query: JobQuery): Promise<string[]> {
    const { serverId, keyId, background, offset, limit } = query
    const ids = await store.inOrder(serverId ?? '', orderedAtMost)
    const isWhole = keyId === undefined && serverId === undefined && background === undefined
    if (ids.length === 0 || (isWhole && ids.length < orderedAtMost)) return ids
    const index = indexKey(keys, { ...query, status: 'pending' })
    const fitting = await redis.zmscore(index, ...ids)
    const all = ids.filter((_id, at) => fitting[at] !== null)
    const found = background === false ? await outside(all) : all
    if (ids.length < orderedAtMost) return found
    const known = new Set(found)
    return [...found, ...(await inOrderOfArrival(query, offset + limit + found.length)).filter(id => !known.has(id))]
  }

  /** Further back they follow in the order of their arrival, the background last. */
  async function inOrderOfArrival (query: JobQuery, most: number): Promise<string[]> {
    const lanes = query.background === undefined ? [false, true] : [query.background]
    const ids: string[] = []
    for (const background of lanes) {
      const wanted = { ...query, status: 'pending', order: 'oldest', background } as const
      for await (const some of fitting(wanted)) {
        ids.push(...some.map(({ id }) => id))
        if (ids.length > most) return ids
      }
    }
    return ids
  }

  async function idPage (query: JobQuery): Promise<IdPage> {
    if (query.order === 'line') {
      const { keyId, serverId, background } = query
      const waiting: JobFilter = {
        status: 'pending',
        ...keyId === undefined ? {} : { keyId },
        ...serverId === undefined ? {} : { serverId },
        ...background === undefined ? {} : { background }
      }
      const [ids, total] = await Promise.all([idsInQueue(query), count(waiting)])
      return { ids: ids.slice(query.offset, query.offset + query.limit), total, nextCursor: null }
    }
    if (isExamined(query)) return await examinedPage(query)
    return isSearched(query) ? await searchedPage(query) : await plainPage(query)
  }

  return {
    /** The ids of a page, for readers that have the texts of most jobs. */
    idPage,
    async page (query: JobQuery): Promise<JobPage> {
      const { ids, ...page } = await idPage(query)
      return { ...page, jobs: await store.readMany(ids) }
    },
    /** Of each job, in the order given. */
    async stamps (ids: readonly string[]): Promise<JobStamp[]> {
      if (ids.length === 0) return []
      const reply = await readStamps(redis, [keys.key('')], [...ids])
      return ids.map((id, at) => ({
        id, status: (reply[at * 3] || null) as JobStatus | null, serverId: reply[at * 3 + 1] ?? '', stamp: reply[at * 3 + 2] ?? ''
      }))
    },
    /** Number of jobs that match. */
    count,
    /** Ids of all jobs that match now, oldest first. */
    async ids (filter: JobFilter): Promise<string[]> {
      return isExamined(filter) ? (await examined(filter)).map(({ id }) => id) : await idsOf(filter)
    },
    /** The jobs of a filter with `group` or `errorCode`, or of all failed ones, in full. */
    examined,
    /** A time before which all jobs arrived that exist now; Redis' clock, in milliseconds since the epoch. */
    async now (): Promise<number> {
      const [seconds, microseconds] = await redis.time()
      return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000) + 1
    }
  }
}

/** `id, arrival, …` of a script. */
function arrivedOf (pairs: readonly string[]): Arrived[] {
  const found: Arrived[] = []
  for (let at = 0; at + 1 < pairs.length; at += 2) found.push({ id: pairs[at] ?? '', arrival: pairs[at + 1] ?? '' })
  return found
}

/** The sorted set of the jobs of a bulk or group, scored by arrival. */
export function groupKey (keys: Keys, id: string): string {
  return keys.key('bulk', id, 'jobs')
}

function isWithin (filter: JobFilter, job: Job): boolean {
  const { keyId, serverId, status, background, since = 0, before = Infinity } = filter
  return (keyId === undefined || job.keyId === keyId) && (serverId === undefined || job.serverId === serverId) &&
    (status === undefined || job.status === status) && (background === undefined || job.background === background) &&
    job.createdAt >= since && job.createdAt < before
}

/** Whether records must be read. */
function isExamined ({ group, errorCode }: JobFilter): boolean {
  return group !== undefined || errorCode !== undefined
}

/** Whether the indexes alone cannot answer the filter. */
function isSearched (filter: JobFilter): boolean {
  return hasText(filter) || filter.background === false
}

function hasText ({ text = '', appType = '', user = '' }: JobFilter): boolean {
  return text !== '' || appType !== '' || user !== ''
}

/** Like Lua in Redis: only ASCII letters match regardless of case. */
function inLowerCase (text: string): string {
  return text.replace(/[A-Z]+/g, letters => letters.toLowerCase())
}

/** The lowest arrival, and the one before which all are; arrivals are microseconds. */
function boundsOf ({ since, before }: JobFilter): [lowest: string, highest: string] {
  return [since === undefined ? '-inf' : String(since * 1000), before === undefined ? '+inf' : String(before * 1000)]
}

export type JobList = ReturnType<typeof createJobList>
