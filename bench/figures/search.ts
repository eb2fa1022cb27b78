import type { Job } from '../../src/jobs/job.ts'
import type { Caller } from '../environment/caller.ts'
import { fill } from '../environment/fill.ts'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { makeOrdinaryJob } from '../environment/ordinary-job.ts'
import { startService } from '../environment/service.ts'
import { inMilliseconds, median, now } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'search'

/** The goals are meant for 300,000, whose filling takes minutes. */
const jobs = Number(process.env.BENCH_JOBS ?? 100_000)
/** Of rows to measure, such as `1 of 20: status`. */
const only = new RegExp(process.env.BENCH_ONLY ?? '')
const times = Number(process.env.BENCH_TIMES ?? 20)
/** Milliseconds of a page, and of a script that all others wait for. */
const goals = { page: 20, script: 10 }

/** Texts by how many of the jobs they fit; each measured one is a new search, as people type them. */
const texts: ReadonlyArray<readonly [name: string, text: string]> = [
  ['all', 'lighthouse'],
  ['1 of 20', 'harbour'],
  ['1 of 20, two words', 'old harbour'],
  ['part of words', 'arbou'],
  ['1 of 10,000', 'lantern'],
  ['only the oldest', 'firstborn'],
  ['only the newest', 'latecomer'],
  ['none', 'no such words']
]

const filters: ReadonlyArray<readonly [name: string, query: string]> = [
  ['no filter', ''],
  ['oldest first', 'order=asc'],
  ['status', 'status=failed'],
  ['most of a status', 'status=completed'],
  ['server', 'server=East'],
  ['status + server', 'status=completed&server=East'],
  ['key with many jobs', 'key=mk_beta'],
  ['key with few jobs', 'key=mk_few'],
  ['background', 'background=true'],
  ['not in the background', 'background=false'],
  ['group', 'group=bulk-few'],
  ['large group', 'group=bulk-many'],
  ['large group + status', 'group=bulk-many&status=failed'],
  ['error', 'error=bad_answer'],
  ['application', 'app_type=comfyui'],
  ['offset 90 %', `offset=${jobs * 0.9}`]
]

/** Words as frequent as in a language: some in every prompt, most in few. */
const syllables = ['ba', 'de', 'fi', 'go', 'lu', 'ma', 'ne', 'pi', 'ro', 'su', 'ta', 've', 'wi', 'zo', 'ka', 'he']
const vocabulary = Array.from({ length: 4096 }, (_, at) => [at >> 8, (at >> 4) & 15, at & 15].map(part => syllables[part]).join(''))

function wordsOf (index: number): string {
  let state = index * 2654435761 % 4294967296
  const found: string[] = []
  for (let at = 0; at < 12; at++) {
    state = (state * 1664525 + 1013904223) % 4294967296
    found.push(vocabulary[Math.floor(4096 ** (state / 4294967296)) - 1] ?? '')
  }
  return found.join(' ')
}

function promptOf (index: number): string {
  const marks = [
    index % 40 === 7 ? 'old harbour, ' : '', index % 40 === 27 ? 'harbour, ' : '', index % 10_000 === 5000 ? 'lantern, ' : '',
    index === 0 ? 'firstborn, ' : '', index === jobs - 1 ? 'latecomer, ' : ''
  ]
  // People often want several of the same.
  return `${marks.join('')}${wordsOf(index >> 1)}, `
}

function endOf (index: number) {
  const place = index % 100
  if (place < 2) return index > jobs - 20_000 ? 'pending' : 'cancelled'
  return place < 10 ? 'failed' : 'completed'
}

/** @returns the addresses of the servers by alias */
export async function fillForSearch ({ redis }: Environment, like: Job, serverIds: readonly string[]): Promise<void> {
  await fill(redis, like, {
    count: jobs,
    serverIds,
    keyIds: [null, 'mk_alpha', 'mk_beta', null, 'mk_gamma', null, null],
    endOf,
    promptOf,
    othersOf: index => ({
      ...index % 15_000 === 100 ? { keyId: 'mk_few' } : {},
      ...index % 50 === 3 ? { background: true } : {},
      ...index % 3000 === 8 ? { bulkId: 'bulk-few' } : index % 10 === 8 ? { bulkId: 'bulk-many' } : {},
      ...index % 4 === 1 ? { appType: 'comfyui' } : {}
    })
  })
}

export const aliases = ['North', 'East', 'South', 'West']

export async function measure (): Promise<Row[]> {
  const like = await makeOrdinaryJob()
  return await withEnvironment(async environment => {
    const servers = Object.fromEntries(aliases.map(alias => [alias, 'http://127.0.0.1:9']))
    const service = await startService(environment, { command: 'api', servers })
    const registered = await service.caller.get('/api/v1/servers') as Array<{ id: string }>
    await fillForSearch(environment, like, registered.map(({ id }) => id))
    return await measureSearches(environment, service)
  })
}

interface Measured {
  readonly caller: Caller
  readonly used: () => Promise<number>
}

export async function measureSearches (environment: Environment, service: Measured): Promise<Row[]> {
  const { redis } = environment
  await redis.config('SET', 'slowlog-log-slower-than', '1000')
  const rows: Row[] = []
  for (const [fits, text] of texts) {
    for (const [name, query] of filters) {
      if (!only.test(`${fits}: ${name}`)) continue
      const ask = async (more: string) =>
        await service.caller.get(`/api/v2/jobs?limit=50&view=short&search=${encodeURIComponent(text)}&${query}${more}`) as
          { total: number, next_cursor: string | null }
      await redis.slowlog('RESET')
      const first = await timed(() => ask(''))
      const slowest = async () => Math.max(0, ...(await redis.slowlog('GET', 1000) as Array<[number, number, number, string[]]>)
        .filter(([, , , command]) => /eval/i.test(command[0] ?? '')).map(([, , micros]) => micros / 1000))
      const blocked = await slowest()
      const found: number[] = []
      const [usedBefore, redisBefore] = [await service.used(), await redisUsed(redis)]
      for (let index = 0; index < times; index++) found.push((await timed(() => ask(''))).took)
      const cpu = (await service.used() - usedBefore) / 1000 / times
      const ofRedis = (await redisUsed(redis) - redisBefore) / times
      const { next_cursor: cursor, total } = first.answer
      const next = cursor === null ? null : await timed(() => ask(`&cursor=${cursor}`))
      const again = await slowest()
      rows.push({
        figure: `search ${fits}: ${name} (${total.toLocaleString('en')})`,
        measured: `first ${inMilliseconds(first.took)}, again ${inMilliseconds(median(found))}, ` +
          `CPU ${inMilliseconds(cpu)}, Redis ${inMilliseconds(ofRedis)}, ` +
          `next page ${next === null ? '–' : inMilliseconds(next.took)}, longest script ${inMilliseconds(Math.max(blocked, again))}`,
        limit: '',
        ratio: '',
        goal: `≤ ${goals.page} ms, script ≤ ${goals.script} ms`,
        ok: median(found) <= goals.page && Math.max(blocked, again) <= goals.script
      })
      if (process.env.BENCH_TRACE !== undefined) process.stderr.write(`${rows.at(-1)?.figure}: ${rows.at(-1)?.measured}\n`)
    }
  }
  return rows
}

async function timed<Answer> (ask: () => Promise<Answer>): Promise<{ answer: Answer, took: number }> {
  const began = now()
  const answer = await ask()
  return { answer, took: now() - began }
}

/** Processor time of Redis in milliseconds. */
async function redisUsed (redis: Environment['redis']): Promise<number> {
  const text = await redis.info('cpu')
  const part = (name: string) => Number(new RegExp(`${name}:([\\d.]+)`).exec(text)?.[1] ?? 0)
  return (part('used_cpu_sys') + part('used_cpu_user')) * 1000
}
