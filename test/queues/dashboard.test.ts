import t from 'tap'
import { startWorker } from '../../src/main/worker.ts'
import { onNotices, quick, startService } from '../helper.ts'
import { findProblems } from '../support/consistency.ts'
import { findEntryProblems, findPoolProblems } from '../support/pool-consistency.ts'

/** Presses the buttons of the dashboard, over HTTP, on the queue of the pool and on that of a server. */
const service = await startService(t, { worker: 'none', settings: { DASHBOARD_READ_ONLY: 'false' } })
const { services, request, simulator } = service
const { redis, keys, registry, config } = services
const intervals = { whileUp: 1000, whileDown: 50, inventory: 60_000, repair: 100 }
const worker = await startWorker(services, intervals)
t.teardown(worker.close)
const { id: serverId } = registry.require('Main')
const ofServer = `generation-${serverId}`
const pool = { look: redis, keys }
const accepted: string[] = []

const press = async (method: string, path: string, body: object = {}) =>
  await request(method, `/dashboard/api/queues/${path}`, body)
const change = async (action: 'pause' | 'resume') =>
  t.match(await request('POST', `/api/v1/servers/Main/${action}`), { status: 200 })

async function submit (count: number, more: object = {}): Promise<string[]> {
  const ids: string[] = []
  for (let number = 0; number < count; number++) ids.push(await service.submit({ ...quick, ...more }))
  accepted.push(...ids)
  return ids
}

/** Resolves when the queues hold what the records say. */
async function untilRepaired (): Promise<void> {
  const left = async () => [
    ...await findEntryProblems(pool),
    ...await Promise.all(['wait', 'delayed', 'failed'].map(async state => await redis.exists(keys.key('bull', 'waiting', state))))
  ].filter(problem => problem !== 0)
  await onNotices(services, async () => {
    const paused = await redis.hget(keys.key('bull', 'waiting', 'meta'), 'paused')
    return paused === null && (await left()).length === 0 ? true : undefined
  })
}

const timesOf = (id: string) => simulator.state().generations.filter(({ taskId }) => taskId === id).length

async function allRunOnce (ids: readonly string[]): Promise<void> {
  for (const id of ids) t.equal((await service.until(id, 'completed', 'failed', 'cancelled')).status, 'completed')
  t.same(ids.map(timesOf), ids.map(() => 1), 'each ran once')
  const traces = { ...pool, dataDirectory: config.DATA_DIR }
  t.same(await findProblems(accepted, traces), [])
}

/** Presses that change something answer so. */
async function pressed (...call: Parameters<typeof press>): Promise<void> {
  const { status } = await press(...call)
  t.ok(status === 200 || status === 204, `${call[1]}: ${status}`)
}
const add = async (queue: string, jobId: string, options: object = {}) =>
  await pressed('POST', `${queue}/add`, { name: 'generate', data: { jobId, run: 1 }, options })

type Presses = ReadonlyArray<readonly [what: string, act: (...ids: string[]) => Promise<unknown>]>

t.test('whatever is pressed on the queue of waiting jobs, each runs once', async t => {
  const presses: Presses = [
    ['remove, promote and retry one, and change its priority and data', async (first = '', second = '', third = '') => {
      await press('PUT', `waiting/${third}_1/promote`)
      await press('PUT', `waiting/${third}_1/retry`)
      await pressed('PUT', 'waiting/promote')
      await pressed('PATCH', `waiting/${second}_1/priority`, { priority: 0 })
      await pressed('PATCH', `waiting/${third}_1/update-data`, { jobData: { jobId: second, run: 1 } })
      await pressed('PUT', `waiting/${first}_1/clean`)
    }],
    ['empty', async () => { await pressed('PUT', 'waiting/empty') }],
    ['pause and obliterate', async () => {
      // The repair can be quicker than the second press, for which the queue must be paused.
      for (let status = 400; status === 400;) {
        await pressed('PUT', 'waiting/pause')
        status = (await press('PUT', 'waiting/obliterate', { force: true })).status
      }
    }],
    ['pause, and add the same again at once and for later', async (first = '', second = '') => {
      await pressed('PUT', 'waiting/pause')
      await add('waiting', first)
      await add('waiting', second, { delay: 3_600_000 })
    }],
    ['add one and remove another', async (first = '', second = '') => {
      await add('waiting', first, { priority: 3 })
      await pressed('PUT', `waiting/${second}_1/clean`)
    }]
  ]
  for (const [what, act] of presses) {
    await t.test(what, async () => {
      await change('pause')
      const ids = await submit(3)
      await act(...ids)
      await untilRepaired()
      t.same(await findPoolProblems(pool), [])
      await change('resume')
      await allRunOnce(ids)
    })
  }
})

t.test('whatever is pressed on the queue of a server, each runs once', async t => {
  const presses: Presses = [
    ['remove and retry what runs, add it and others again, pause, and limit the rate', async (first = '', second = '') => {
      t.match(await press('PUT', `${ofServer}/${first}_1/clean`), { status: 409 })
      await press('PUT', `${ofServer}/${first}_1/retry`)
      for (const id of [first, second, 'none']) await add(ofServer, id)
      await pressed('POST', `${ofServer}/add`, { name: 'nonsense', data: { a: 1 }, options: {} })
      await pressed('PUT', `${ofServer}/rate-limit`, { max: 1, duration: 3_600_000 })
      await pressed('PUT', `${ofServer}/pause`)
    }],
    ['pause all and empty', async () => {
      await pressed('PUT', 'pause')
      await pressed('PUT', `${ofServer}/empty`)
    }],
    ['pause and obliterate', async () => {
      await pressed('PUT', `${ofServer}/pause`)
      await pressed('PUT', `${ofServer}/obliterate`, { force: true })
    }]
  ]
  for (const [what, act] of presses) {
    await t.test(what, async () => {
      simulator.setFaults([{ kind: 'hang', prompt: 'the first' }])
      const ids = await submit(1, { prompt: 'the first' })
      await service.until(ids[0] ?? '', 'processing')
      ids.push(...await submit(2))
      await onNotices(services, async () => await redis.zcard(keys.key('line', serverId)) > 0 ? true : undefined)
      await act(...ids)
      simulator.setFaults([])
      await allRunOnce(ids)
    })
  }
  await t.test('retry what is completed', async () => {
    const [id = ''] = await submit(1)
    await service.until(id, 'completed')
    await onNotices(services, async () =>
      await redis.zscore(keys.key('bull', ofServer, 'completed'), `${id}_1`) === null ? undefined : true)
    await pressed('PUT', `${ofServer}/${id}_1/retry`)
    await pressed('PUT', `${ofServer}/retry/completed`)
    await allRunOnce([id, ...await submit(2)])
  })
})

t.test('while a job runs, the next one is claimed although the queue was repaired meanwhile', async t => {
  simulator.setFaults([{ kind: 'hang', prompt: 'a long one' }])
  const ids = await submit(1, { prompt: 'a long one' })
  await service.until(ids[0] ?? '', 'processing')
  // A repair resumes it.
  await pressed('PUT', `${ofServer}/pause`)
  await onNotices(services, async () => await redis.hget(keys.key('bull', ofServer, 'meta'), 'paused') === null ? true : undefined)
  ids.push(...await submit(1))
  await onNotices(services, async () => await redis.zcard(keys.key('line', serverId)) > 0 ? true : undefined)
  t.equal((await service.job(ids[0] ?? '')).status, 'processing')
  simulator.setFaults([])
  await allRunOnce(ids)
})
