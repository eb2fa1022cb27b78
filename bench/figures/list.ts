import { createKeys } from '../../src/lib/keys.ts'
import type { Caller } from '../environment/caller.ts'
import { fill } from '../environment/fill.ts'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { makeOrdinaryJob } from '../environment/ordinary-job.ts'
import { startService } from '../environment/service.ts'
import { asRatio, inMilliseconds, median, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'list page of 50 jobs'

const jobs = 100_000
const limit = 50
const times = 100
const goal = 10
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
  ['status', 'status=failed'],
  ['server', 'server=East'],
  ['key', 'key=mk_beta'],
  ['status + server', 'status=completed&server=East'],
  ['status + server + key', 'status=completed&server=East&key=mk_beta'],
  ['offset 90,000', 'offset=90000'],
  ['oldest first', 'order=asc'],
  ['search, 1 in 20 fits', 'search=harbour'],
  ['search, none fits', 'search=no%20such%20words']
]

/**
 * Whole requests, one after the other, from sending to the parsed answer. The limit is what reading the same fifty
 * records takes when Redis is asked directly.
 */
export async function measure (): Promise<Row[]> {
  const like = await makeOrdinaryJob()
  return await withEnvironment(async environment => {
    const servers = Object.fromEntries(aliases.map(alias => [alias, 'http://127.0.0.1:9']))
    const { caller } = await startService(environment, { command: 'api', servers })
    const registered = await caller.get('/api/v1/servers') as Array<{ id: string }>
    await fill(environment.redis, like, {
      count: jobs,
      serverIds: registered.map(({ id }) => id),
      keyIds,
      endOf,
      promptOf: index => index % 20 === 0 ? 'harbour, ' : ''
    })
    const direct = median(await measureDirectly(environment))
    const rows: Row[] = []
    for (const [name, query] of [...filters, await cursorFilter(caller), await sinceFilter(caller)]) {
      const found = await measurePage(caller, query)
      rows.push({
        figure: `${about} of ${jobs.toLocaleString('en')}: ${name}`,
        measured: spread(found),
        limit: `50 HGETALL ${inMilliseconds(direct)}`,
        ratio: asRatio(median(found), direct),
        goal: `p99 ≤ ${goal} ms`,
        ok: quantile(found, 0.99) <= goal
      })
    }
    return rows
  })
}

interface Page {
  readonly jobs: ReadonlyArray<{ readonly creation_timestamp: string }>
  readonly next_cursor: string
}

const page = async (caller: Caller, query: string) => await caller.get(`/api/v2/jobs?limit=${limit}&${query}`) as Page

async function cursorFilter (caller: Caller): Promise<readonly [string, string]> {
  return ['cursor', `cursor=${(await page(caller, 'offset=50000')).next_cursor}`]
}

async function sinceFilter (caller: Caller): Promise<readonly [string, string]> {
  const timestamp = (await page(caller, 'offset=50000')).jobs[0]?.creation_timestamp ?? ''
  return ['since, half of all', `since=${timestamp}`]
}

async function measurePage (caller: Caller, query: string): Promise<number[]> {
  const found: number[] = []
  for (let index = 0; index < times + 10; index++) {
    const began = now()
    await page(caller, query)
    found.push(now() - began)
  }
  return found.slice(10)
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
