import type { Redis } from 'ioredis'
import type { JobStatus } from '../../schemas/job.ts'
import type { Keys } from '../lib/keys.ts'
import { codeOf, codesIn, type FailureCause } from './causes.ts'
import { indexKey, type Job } from './job.ts'
import { matchText, readPage, readPageOutside, readStamps } from './scripts/index.ts'
import type { JobStore } from './store.ts'
import { type Arrived, createTextSearch, type SearchScope } from './text-search.ts'

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
/** Of so few jobs the records are searched: that takes no longer than the words of all blocks of the search text. */
const usuallyReadAtMost = 1000

/** How the jobs of a filter are found. */
interface Plan {
  /** The sorted set that has all of them, by arrival. */
  readonly source: string
  /** The index that they are in as well, if the source has others. */
  readonly within?: string
  /** The error code that their records have, while the indexes by error code lack jobs. */
  readonly codeOfRecord?: string
}

/** Pages through jobs by the indexes: every combination of key, server, status and error code is one range. */
export function createJobList (redis: Redis, keys: Keys, store: JobStore, readAtMost = usuallyReadAtMost) {
  const everyJob = keys.key('jobs', '*', '*', '*')
  const textSearch = createTextSearch(redis, keys)

  /**
   * @param codes those of the indexes by error code, if the caller has read them
   * @returns null if no job can match
   */
  async function planOf (filter: JobFilter, codes?: readonly string[]): Promise<Plan | null> {
    const { group, errorCode, keyId, serverId, status, background } = filter
    if (errorCode !== undefined && status !== undefined && status !== 'failed') return null
    const index = indexKey(keys, errorCode === undefined ? filter : { ...filter, status: 'failed' })
    const isIndexed = errorCode === undefined || (codes ?? await codesIn({ redis, keys }, index)) !== null
    const ofCode = errorCode === undefined || !isIndexed ? index : `${index}:${errorCode}`
    const records = isIndexed ? {} : { codeOfRecord: errorCode }
    if (group === undefined) return { source: ofCode, ...records }
    const source = groupKey(keys, group)
    // All jobs of a group are of one key.
    const [first = ''] = keyId === undefined ? [] : await redis.zrange(source, '0', '0')
    if (keyId !== undefined && await redis.zscore(indexKey(keys, { keyId }), first) === null) return null
    const isWhole = serverId === undefined && status === undefined && errorCode === undefined && background !== true
    return { source, ...isWhole ? {} : { within: ofCode }, ...records }
  }

  /** How many jobs the source has, and some of them, from the offset or behind an arrival. */
  async function range (
    source: string, query: JobFilter & Pick<JobQuery, 'order'>, after: string | undefined, offset: number, count: number
  ): Promise<{ total: number, found: Arrived[] }> {
    const order = query.order === 'newest' ? 'newest' : 'oldest'
    const [total, ...reply] = await readPage(redis, [source], [order, ...boundsOf(query), after ?? '', offset, count])
    return { total, found: arrivedOf(reply) }
  }

  /** All that match, in parts: reads every record for a search while the search text lacks jobs. */
  async function * fitting (
    { source, within, codeOfRecord }: Plan, query: JobFilter & Pick<JobQuery, 'order'>, from?: string
  ): AsyncGenerator<Arrived[]> {
    const { text = '', appType = '', user = '' } = query
    for (let after = from, found: Arrived[] = []; ; after = found.at(-1)?.arrival) {
      found = (await range(source, query, after, 0, examinedAtOnce)).found
      if (found.length > 0) {
        let ids = found.map(({ id }) => id)
        if (within !== undefined) ids = await inIndex(within, ids)
        if (codeOfRecord !== undefined) {
          ids = (await store.readMany(ids)).filter(job => codeOf(job) === codeOfRecord).map(({ id }) => id)
        }
        if (hasText(query) && ids.length > 0) {
          ids = await matchText(redis, [keys.key('')], [inLowerCase(text), appType, user, ...ids])
        }
        const fit = new Set(query.background === false ? await outside(ids) : ids)
        yield found.filter(({ id }) => fit.has(id))
      }
      if (found.length < examinedAtOnce) return
    }
  }

  async function inIndex (index: string, ids: string[]): Promise<string[]> {
    const arrivals = await redis.zmscore(index, ...ids)
    return ids.filter((_id, at) => arrivals[at] !== null)
  }

  /** Those that are not in the background. */
  async function outside (ids: string[]): Promise<string[]> {
    if (ids.length === 0) return ids
    const inLane = await redis.zmscore(indexKey(keys, { background: true }), ...ids)
    return ids.filter((_id, at) => inLane[at] === null)
  }

  /**
   * Where the search text is searched, and for what, possibly for all jobs of two indexes; null if the indexes and the
   * records are read: it does not know all that the plan needs, or there are few jobs.
   */
  async function searchOf ({ source, within, codeOfRecord }: Plan, query: JobFilter) {
    const { text = '', appType: application = '', user = '', background } = query
    if (codeOfRecord !== undefined || (!hasText(query) && within === undefined && background !== false)) return null
    // The search text separates the parts of its entries by these.
    if (['\0', '\x01', '\x02', '\x03'].some(sign => text.includes(sign))) return null
    const [lowest, highest] = boundsOf(query)
    const counts = await Promise.all([source, within ?? []].flat().map(async index =>
      index === everyJob ? Infinity : await redis.zcount(index, lowest, `(${highest}`)))
    if (Math.min(...counts) <= readAtMost) return null
    const scope: SearchScope = {
      source,
      ...within === undefined ? {} : { within },
      ...background === false ? { without: indexKey(keys, { background: true }) } : {}
    }
    return {
      scope,
      words: { text: inLowerCase(text), application, user },
      bounds: { lowest: Number(lowest.replace('inf', 'Infinity')), highest: Number(highest.replace('inf', 'Infinity')) }
    }
  }

  async function idsOf (filter: JobFilter): Promise<string[]> {
    const plan = await planOf(filter)
    if (plan === null) return []
    const query = { ...filter, order: 'oldest' } as const
    const asked = await searchOf(plan, filter)
    const searched = asked === null ? null : await textSearch.ids(asked.scope, asked.words, asked.bounds)
    if (searched !== null) return searched
    const ids: string[] = []
    for await (const some of fitting(plan, query)) for (const { id } of some) ids.push(id)
    return ids
  }

  async function count (filter: JobFilter): Promise<number> {
    const { background, ...others } = filter
    if (background === false && !hasText(filter)) {
      return await count(others) - await count({ ...others, background: true })
    }
    const plan = await planOf(filter)
    if (plan === null) return 0
    const query = { ...filter, order: 'oldest' } as const
    if (isExact(plan, filter)) return (await range(plan.source, query, undefined, 0, 0)).total
    const asked = await searchOf(plan, filter)
    const searched = asked === null ? null : await textSearch.count(asked.scope, asked.words, asked.bounds)
    if (searched !== null) return searched
    let total = 0
    for await (const some of fitting(plan, query)) total += some.length
    return total
  }

  async function searchedPage (plan: Plan, query: JobQuery): Promise<IdPage> {
    const { cursor, limit } = query
    const skip = cursor === undefined ? query.offset : 0
    const asked = await searchOf(plan, query)
    const searched = asked === null
      ? null
      : await textSearch.page(asked.scope, asked.words, asked.bounds, {
          order: query.order === 'newest' ? 'newest' : 'oldest',
          ...cursor === undefined ? {} : { after: Number(cursor) },
          skip,
          take: limit + 1
        })
    if (searched !== null) return pageOf(searched.found, query, 0, searched.total)
    const found: Arrived[] = []
    let total = 0
    // Two counts of indexes tell how many are outside the background.
    const isCounted = cursor === undefined && (hasText(query) || query.background !== false)
    for await (const some of fitting(plan, query, cursor)) {
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
    const isWhole = keyId === undefined && serverId === undefined && background === undefined
    const needed = isWhole ? offset + limit : Infinity
    const ids = await store.inOrder(serverId ?? '', Math.min(needed, orderedAtMost))
    if (ids.length === 0 || ids.length >= needed || (isWhole && ids.length < orderedAtMost)) return ids
    const index = indexKey(keys, { ...query, status: 'pending' })
    const all = await inIndex(index, ids)
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
      for await (const some of fitting({ source: indexKey(keys, wanted) }, wanted)) {
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
    return await plannedPage(await planOf(query), query)
  }

  /** A page of the jobs of an index that are not in its part of the background. */
  async function pageOutside (index: string, lane: string, query: JobQuery): Promise<IdPage> {
    const { cursor, offset, limit } = query
    const order = query.order === 'newest' ? 'newest' : 'oldest'
    const [total, ...reply] = await readPageOutside(redis, [index, lane],
      [order, ...boundsOf(query), cursor ?? '', offset, limit + 1])
    return pageOf(arrivedOf(reply), query, 0, total)
  }

  async function plannedPage (plan: Plan | null, query: JobQuery): Promise<IdPage> {
    if (plan === null) return { ids: [], total: 0, nextCursor: null }
    if (query.background === false && !hasText(query) && plan.within === undefined && plan.codeOfRecord === undefined) {
      const lane = await planOf({ ...query, background: true })
      if (lane !== null && lane.within === undefined) return await pageOutside(plan.source, lane.source, query)
    }
    if (!isExact(plan, query)) return await searchedPage(plan, query)
    const { total, found } = await range(plan.source, query, query.cursor, query.offset, query.limit + 1)
    return pageOf(found, query, 0, total)
  }

  /** The failed jobs of a filter by error code. */
  async function causes (filter: JobFilter): Promise<FailureCause[]> {
    const failed = { ...filter, status: 'failed' } as const
    const codes = await codesIn({ redis, keys }, indexKey(keys, failed))
    if (codes === null) return await causesOfRecords(failed)
    const found = await Promise.all(codes.map(async code => {
      const query = { ...failed, errorCode: code, order: 'newest', limit: 1, offset: 0 } as const
      const { ids, total } = await plannedPage(await planOf(query, codes), query)
      const [newest] = await store.readMany(ids)
      return newest === undefined ? [] : { code, count: total, newest }
    }))
    return found.flat()
  }

  async function causesOfRecords (filter: JobFilter): Promise<FailureCause[]> {
    const found = new Map<string, FailureCause>()
    const plan = await planOf(filter)
    if (plan === null) return []
    for await (const some of fitting(plan, { ...filter, order: 'newest' })) {
      for (const job of await store.readMany(some.map(({ id }) => id))) {
        const { count = 0, newest = job } = found.get(codeOf(job)) ?? {}
        found.set(codeOf(job), { code: codeOf(job), count: count + 1, newest })
      }
    }
    return [...found.values()]
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
    ids: idsOf,
    causes,
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

/** Whether the source of the plan has these jobs and no others. */
function isExact ({ within, codeOfRecord }: Plan, filter: JobFilter): boolean {
  return within === undefined && codeOfRecord === undefined && !isSearched(filter)
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
