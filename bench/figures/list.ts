import { readFile } from 'node:fs/promises'
import { createKeys } from '../../src/lib/keys.ts'
import type { Caller } from '../environment/caller.ts'
import { fill } from '../environment/fill.ts'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { makeOrdinaryJob } from '../environment/ordinary-job.ts'
import { startService } from '../environment/service.ts'
import { asRatio, inMilliseconds, median, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'list page of 50 jobs'

/** The goals are meant for 300,000, whose filling takes minutes. */
const jobs = Number(process.env.BENCH_JOBS ?? 100_000)
const limit = 50
/** Reads of the records without the service. */
const times = 100
/** Milliseconds of a page and of a search; milliseconds of CPU; bytes of a page of short views. */
const goals = { page: 10, search: 20, cpu: 3, short: 64 * 1024 }
/** So many that the p99 is not one of the worst few; processor time is counted in ticks of ten milliseconds. */
const pages = 500
/** Pages before those of a row: the first one reads records, or searches. */
const unmeasured = 10
const aliases = ['North', 'East', 'South', 'West']
const keyIds = [null, 'mk_alpha', 'mk_beta', null, 'mk_gamma', null, null]

/** Ninety of a hundred are completed; the rest is spread over the other ends and waits. */
function endOf (index: number) {
  const place = index % 100
  if (place < 2) return 'pending'
  if (place < 5) return 'cancelled'
  return place < 10 ? 'failed' : 'completed'
}

const filters: ReadonlyArray<readonly [name: string, query: string]> = [
  ['no filter', ''],
  ['short view', 'view=short'],
  ['status', 'status=failed'],
  ['waiting', 'status=pending'],
  ['server', 'server=East'],
  ['key', 'key=mk_beta'],
  ['status + server', 'status=completed&server=East'],
  ['status + server + key', 'status=completed&server=East&key=mk_beta'],
  [`offset ${(jobs * 0.9).toLocaleString('en')}`, `offset=${jobs * 0.9}`],
  [`offset ${(jobs / 2).toLocaleString('en')}, short view`, `offset=${jobs / 2}&view=short`],
  ['oldest first', 'order=asc'],
  ['search, 1 in 20 fits', 'search=harbour'],
  ['search, none fits', 'search=no%20such%20words'],
  ['search, none fits, short view', 'search=no%20such%20words&view=short']
]

/**
 * Whole requests, one after the other, from sending to the parsed answer. The limit is what reading the same fifty
 * records takes when Redis is asked directly.
 */
export async function measure (): Promise<Row[]> {
  const like = await makeOrdinaryJob()
  return await withEnvironment(async environment => {
    const servers = Object.fromEntries(aliases.map(alias => [alias, 'http://127.0.0.1:9']))
    const { caller, pid } = await startService(environment, { command: 'api', servers })
    const registered = await caller.get('/api/v1/servers') as Array<{ id: string }>
    await fill(environment.redis, like, {
      count: jobs,
      serverIds: registered.map(({ id }) => id),
      keyIds,
      endOf,
      promptOf: index => index % 20 === 0 ? 'harbour, ' : ''
    })
    const direct = median(await measureDirectly(environment))
    const rows = [firstPages(await measurePage(caller, '', pid, 0))]
    for (const [name, query] of [...filters, await cursorFilter(caller), await sinceFilter(caller)]) {
      const { found, cpu, bytes } = await measurePage(caller, query, pid)
      const most = name.startsWith('search') ? goals.search : goals.page
      const isShort = name.includes('short')
      rows.push({
        figure: `${about} of ${jobs.toLocaleString('en')}: ${name}`,
        measured: `${spread(found)}, CPU ${inMilliseconds(cpu)}, ${Math.ceil(bytes / 1024)} KiB`,
        limit: `50 HGETALL ${inMilliseconds(direct)}`,
        ratio: asRatio(median(found), direct),
        goal: `p99 ≤ ${most} ms, CPU ≤ ${goals.cpu} ms${isShort ? ', ≤ 64 KiB' : ''}`,
        ok: quantile(found, 0.99) <= most && cpu <= goals.cpu && (!isShort || bytes <= goals.short)
      })
    }
    return rows
  })
}

/** What a process takes before V8 has compiled what lists run; without a goal. */
function firstPages ({ found, cpu, bytes }: Measured): Row {
  return {
    figure: `${about} of ${jobs.toLocaleString('en')}: the first ${pages} of the process`,
    measured: `first ${inMilliseconds(found[0] ?? NaN)}, ${spread(found)}, CPU ${inMilliseconds(cpu)}, ` +
      `${Math.ceil(bytes / 1024)} KiB`,
    limit: '',
    ratio: '',
    goal: '',
    ok: null
  }
}

interface Page {
  readonly jobs: ReadonlyArray<{ readonly creation_timestamp: string }>
  readonly next_cursor: string
}

const page = async (caller: Caller, query: string) => await caller.get(`/api/v2/jobs?limit=${limit}&${query}`) as Page

async function cursorFilter (caller: Caller): Promise<readonly [string, string]> {
  return ['cursor', `cursor=${(await page(caller, `offset=${jobs / 2}`)).next_cursor}`]
}

async function sinceFilter (caller: Caller): Promise<readonly [string, string]> {
  const timestamp = (await page(caller, `offset=${jobs / 2}`)).jobs[0]?.creation_timestamp ?? ''
  return ['since, half of all', `since=${timestamp}`]
}

interface Measured {
  /** Of each page, in milliseconds. */
  readonly found: readonly number[]
  /** Processor time of the service a page, in milliseconds. */
  readonly cpu: number
  /** Size of a page. */
  readonly bytes: number
}

async function measurePage (caller: Caller, query: string, pid: number, before = unmeasured): Promise<Measured> {
  const found: number[] = []
  for (let index = 0; index < before; index++) await page(caller, query)
  const used = await processorTime(pid)
  for (let index = 0; index < pages; index++) {
    const began = now()
    await page(caller, query)
    found.push(now() - began)
  }
  const cpu = (await processorTime(pid) - used) / pages
  return { found, cpu, bytes: JSON.stringify(await page(caller, query)).length }
}

/** User and system time of a process, in milliseconds. */
async function processorTime (pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8')
  const [user, system] = text.slice(text.lastIndexOf(')') + 2).split(' ').slice(11, 13)
  return (Number(user) + Number(system)) * 10
}

async function measureDirectly ({ redis }: Environment): Promise<number[]> {
  const keys = createKeys('sq')
  const ids = await redis.zrevrange(keys.key('jobs', '*', '*', '*'), 0, limit - 1)
  const found: number[] = []
  for (let index = 0; index < times; index++) {
    const began = now()
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.hgetall(keys.key('job', id))
    await pipeline.exec()
    found.push(now() - began)
  }
  return found
}
