import { setTimeout as sleep } from 'node:timers/promises'
import { type Environment, usedBytes, withEnvironment } from '../environment/environment.ts'
import { readEvents } from '../environment/event-reader.ts'
import { fill } from '../environment/fill.ts'
import { startFleetServers } from '../environment/fleet.ts'
import { makeOrdinaryJob } from '../environment/ordinary-job.ts'
import { submission } from '../environment/ordinary.ts'
import { processorTimeOf } from '../environment/product.ts'
import { launchService, startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, inMilliseconds } from '../statistics.ts'
import type { Row } from '../table.ts'

const jobCounts = [1000, 100_000, 300_000]
const serverCounts = [1, 8, 32]
const listenerCounts = [1, 100, 500]
const pages = 200
const submissions = 400
const idleMilliseconds = 20_000
const jobsHeard = 40

/** Milliseconds of the service's processor time, and bytes, by what they are for. */
type Costs = Readonly<Record<string, number>>

export const jobs = { about: 'what steps cost with more finished jobs', measure: withJobs }
export const servers = { about: 'what steps cost with more servers', measure: withServers }
export const listeners = { about: 'what a job costs with more listeners', measure: withListeners }

/** Each cost at each size, with the least size as its limit. */
function rowsOf (what: string, sizes: ReadonlyArray<readonly [size: number, costs: Costs]>): Row[] {
  const [, first] = sizes[0] ?? [0, {}]
  return Object.keys(first).flatMap(name => sizes.slice(1).map(([size, costs]): Row => {
    const [cost, least] = [costs[name] ?? NaN, first[name] ?? NaN]
    const text = (value: number) => name.includes('bytes') ? `${Math.round(value)} B` : inMilliseconds(value)
    return {
      figure: `growth: ${name}, ${size.toLocaleString('en')} ${what}`,
      measured: text(cost),
      limit: `${(sizes[0]?.[0] ?? 0).toLocaleString('en')} ${what}: ${text(least)}`,
      ratio: asRatio(cost, least),
      goal: '',
      ok: null
    }
  }))
}

/** Milliseconds that a process uses for each of so many pieces of work. */
async function costOf (pid: number, times: number, work: () => Promise<unknown>): Promise<number> {
  const before = await processorTimeOf(pid)
  for (let index = 0; index < times; index++) await work()
  return (await processorTimeOf(pid) - before) / times
}

async function withJobs (): Promise<Row[]> {
  const like = await makeOrdinaryJob()
  return await withEnvironment(async environment => {
    const options = { command: 'start', servers: { Main: 'http://127.0.0.1:9' } } as const
    // It registers the server.
    const first = await startApi(environment)
    const [{ id = '' } = {}] = await first.caller.get('/api/v1/servers') as Array<{ id: string }>
    await first.stop()
    const empty = await usedBytes(environment)
    const found: Array<readonly [number, Costs]> = []
    let filled = 0
    for (const count of jobCounts) {
      await fill(environment.redis, like, {
        count: count - filled, serverIds: [id], keyIds: [null], endOf: () => 'completed', promptOf: () => ''
      })
      filled = count
      const bytes = (await usedBytes(environment) - empty) / count
      const starting = await launchService(environment, options)
      await until(async () => (await fetch(`${starting.url}/ready`).catch(() => null))?.ok === true, 'it is ready')
      const start = await processorTimeOf(starting.pid)
      await starting.stop()
      const { caller, pid, stop } = await startApi(environment)
      const page = async (query: string) => {
        const read = async () => await caller.get(`/api/v2/jobs?limit=50&${query}`)
        for (let warmUp = 0; warmUp < 20; warmUp++) await read()
        return await costOf(pid, pages, read)
      }
      found.push([count, {
        'a page of 50': await page(''),
        'a page behind nine tenths': await page(`offset=${count * 0.9}`),
        'a short page': await page('view=short'),
        'a submission': await costOf(pid, submissions, () => caller.post('/api/v2/generate', submission('Main'))),
        'a start until ready': start,
        'bytes of a finished job': bytes
      }])
      await stop()
    }
    return rowsOf('jobs', found)
  })
}

const startApi = async (environment: Environment) =>
  await startService(environment, { command: 'api', servers: { Main: 'http://127.0.0.1:9' } })

async function withServers (): Promise<Row[]> {
  const found: Array<readonly [number, Costs]> = []
  for (const count of serverCounts) {
    found.push([count, await withEnvironment(async environment => {
      const aliases = Array.from({ length: count }, (_, index) => `S${index}`)
      const addresses = await startFleetServers(environment, aliases.map(alias =>
        ({ alias, speed: 1, checkpoints: ['model'] })), { step: 1, load: 1 })
      const { caller, pid } = await startService(environment, { command: 'start', servers: addresses })
      await sleep(5000)
      const before = await processorTimeOf(pid)
      await sleep(idleMilliseconds)
      const idle = (await processorTimeOf(pid) - before) * 60_000 / idleMilliseconds
      for (const alias of aliases) await caller.post(`/api/v1/servers/${alias}/pause`)
      const submit = () => caller.post('/api/v2/generate', submission('default'))
      for (let warmUp = 0; warmUp < 20; warmUp++) await submit()
      return { 'a minute without jobs': idle, 'a submission to any server': await costOf(pid, submissions, submit) }
    })])
  }
  return rowsOf('servers', found)
}

async function withListeners (): Promise<Row[]> {
  const found: Array<readonly [number, Costs]> = []
  for (const count of listenerCounts) {
    found.push([count, await withEnvironment(async environment => {
      const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 20 } })
      const { caller, pid, url } = await startService(environment, {
        command: 'start', servers: { Main: upstream.url }, settings: { LISTENERS_PER_KEY: '1000' }
      })
      const ready = new Set<number>()
      let ends = 0
      const readers = Array.from({ length: count }, (_, index) => readEvents(`${url}/api/v1/events`, '', ({ kind }) => {
        if (kind === 'ready') ready.add(index)
        if (kind === 'completed') ends++
      }))
      for (const { ended } of readers) ended.catch(() => {})
      await until(async () => ready.size === count, `all ${count} listen`)
      const run = async () => {
        const before = ends
        await caller.post('/api/v2/generate', submission('Main', { width: 64, height: 64 }))
        await until(async () => ends - before === count, 'all have heard of its end')
      }
      for (let warmUp = 0; warmUp < 10; warmUp++) await run()
      const cost = await costOf(pid, jobsHeard, run)
      for (const reader of readers) reader.close()
      return { 'a job': cost }
    })])
  }
  return rowsOf('listeners', found)
}
