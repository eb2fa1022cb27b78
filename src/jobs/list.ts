import type { Redis } from 'ioredis'
import type { JobStatus } from '../../schemas/job-status.ts'
import type { Keys } from '../redis/keys.ts'
import { indexKey } from './indexes.ts'
import type { Job } from './job.ts'
import type { JobStore } from './store.ts'

export interface JobQuery {
  readonly keyId?: string
  readonly serverId?: string
  readonly status?: JobStatus
  /** Only jobs that arrived at or after this moment, in milliseconds since the epoch. */
  readonly since?: number
  /** Only jobs whose prompt contains this, without regard to case (ASCII letters). */
  readonly text?: string
  readonly appType?: string
  /** `line`: by place in the line of `serverId`, which must be given; only jobs that wait. */
  readonly order: 'newest' | 'oldest' | 'line'
  /** 1 to 1000. */
  readonly limit: number
  readonly offset: number
  /** Where the page before ended; stands instead of an offset. */
  readonly cursor?: string
}

export interface JobPage {
  readonly jobs: Job[]
  /** How many jobs fit status, server, key and time; text and application narrow the page, not this number. */
  readonly total: number
  /** Leads to the next page; null at the end. */
  readonly nextCursor: string | null
}

/** Records that one call reads at the most while it looks for a text; the cursor leads on from there. */
const mostExamined = 20_000
const examinedAtOnce = 500

// KEYS: key prefix. ARGV: lower-case text or '', application as JSON or '', then ids. Answers those that fit.
const matchRecords = /* lua */ `
local text, application = ARGV[1], ARGV[2]
local found = {}
for i = 3, #ARGV do
  local job = KEYS[1] .. 'job:' .. ARGV[i]
  local fits = text == '' or string.find(string.lower(redis.call('HGET', job, 'prompt') or ''), text, 1, true)
  if fits and application ~= '' then
    fits = string.find(redis.call('HGET', job, 'submission') or '', application, 1, true)
  end
  if fits then found[#found + 1] = ARGV[i] end
end
return found
`

/** Pages through jobs by the indexes: every combination of key, server and status is one range. */
export function createJobList (redis: Redis, keys: Keys, store: JobStore) {
  /** Ids with their arrivals, from the place that query and cursor give. */
  async function range (query: JobQuery, after: string | undefined, offset: number, count: number) {
    const index = indexKey(keys, query)
    const low = lowestArrival(query)
    const reply = query.order === 'newest'
      ? await redis.zrevrangebyscore(index, after === undefined ? '+inf' : `(${after}`, low, 'WITHSCORES', 'LIMIT', offset, count)
      : await redis.zrangebyscore(index, after === undefined ? low : `(${after}`, '+inf', 'WITHSCORES', 'LIMIT', offset, count)
    const found: Array<{ id: string, arrival: string }> = []
    for (let at = 0; at + 1 < reply.length; at += 2) found.push({ id: reply[at] ?? '', arrival: reply[at + 1] ?? '' })
    return found
  }

  async function plainPage (query: JobQuery): Promise<Omit<JobPage, 'total'>> {
    const found = await range(query, query.cursor, query.cursor === undefined ? query.offset : 0, query.limit + 1)
    const page = found.slice(0, query.limit)
    const nextCursor = found.length > query.limit ? page.at(-1)?.arrival ?? null : null
    return { jobs: await store.readMany(page.map(({ id }) => id)), nextCursor }
  }

  /** Looks through records in arrival order; bounded, so that one call never holds up Redis for long. */
  async function searchedPage (query: JobQuery): Promise<Omit<JobPage, 'total'>> {
    const wanted = query.limit + (query.cursor === undefined ? query.offset : 0)
    const application = query.appType === undefined ? '' : `"appType":${JSON.stringify(query.appType)}`
    const text = inLowerCase(query.text ?? '')
    const matches: Array<{ id: string, arrival: string }> = []
    let after = query.cursor
    for (let examined = 0; examined < mostExamined; examined += examinedAtOnce) {
      const found = await range(query, after, 0, examinedAtOnce)
      const arrivals = new Map(found.map(({ id, arrival }) => [id, arrival]))
      const fitting = await redis.eval(matchRecords, 1, keys.key(''), text, application, ...arrivals.keys()) as string[]
      matches.push(...fitting.map(id => ({ id, arrival: arrivals.get(id) ?? '' })))
      after = found.at(-1)?.arrival
      if (found.length < examinedAtOnce) after = undefined
      if (after === undefined || matches.length > wanted) break
    }
    const page = matches.slice(wanted - query.limit, wanted)
    const nextCursor = matches.length > wanted ? page.at(-1)?.arrival ?? null : after ?? null
    return { jobs: await store.readMany(page.map(({ id }) => id)), nextCursor }
  }

  /** Ids in the order in which a server will take them. */
  async function idsInLine ({ serverId = '', keyId, offset, limit }: JobQuery): Promise<string[]> {
    const line = keys.key('line', serverId)
    if (keyId === undefined) return await redis.zrange(line, String(offset), String(offset + limit - 1))
    const own = await redis.zrange(indexKey(keys, { keyId, serverId, status: 'pending' }), '0', '-1')
    if (own.length === 0) return []
    const places = await redis.zmscore(line, ...own)
    return own
      .map((id, index) => ({ id, place: Number(places[index] ?? Infinity) }))
      .sort((one, other) => one.place - other.place)
      .slice(offset, offset + limit)
      .map(({ id }) => id)
  }

  return {
    async page (query: JobQuery): Promise<JobPage> {
      if (query.order === 'line') {
        const [total, ids] = await Promise.all([redis.zcard(indexKey(keys, query)), idsInLine(query)])
        return { jobs: await store.readMany(ids), total, nextCursor: null }
      }
      const searched = (query.text ?? '') !== '' || query.appType !== undefined
      const [total, page] = await Promise.all([
        redis.zcount(indexKey(keys, query), lowestArrival(query), '+inf'),
        searched ? searchedPage(query) : plainPage(query)
      ])
      return { ...page, total }
    },
    /** How many jobs fit. */
    async count (filter: Pick<JobQuery, 'keyId' | 'serverId' | 'status'>): Promise<number> {
      return await redis.zcard(indexKey(keys, filter))
    }
  }
}

/** As Lua does it in Redis: other letters than ASCII have to be spelled as they are. */
function inLowerCase (text: string): string {
  return text.replace(/[A-Z]+/g, letters => letters.toLowerCase())
}

/** Arrivals are microseconds. */
function lowestArrival ({ since }: JobQuery): string {
  return since === undefined ? '-inf' : String(since * 1000)
}

export type JobList = ReturnType<typeof createJobList>
