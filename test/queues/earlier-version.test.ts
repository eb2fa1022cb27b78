import { readFile } from 'node:fs/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { createKeys } from '../../src/lib/keys.ts'
import { startWorker } from '../../src/main/worker.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fast, onNotices, startService } from '../helper.ts'
import { startTestRedis } from '../redis.ts'
import { inRepository } from '../root.ts'
import { findIndexProblems, findProblems, readJobs } from '../support/consistency.ts'
import { findEntryProblems, findPoolProblems } from '../support/pool-consistency.ts'

type Stored = Readonly<Record<string,
  | { readonly type: 'string', readonly value: string }
  | { readonly type: 'hash', readonly value: Readonly<Record<string, string>> }
  | { readonly type: 'zset' | 'list', readonly value: readonly string[] }>>

/**
 * The data of a process of the version before the pool (65853d3), which bound each job to a server, as it was when that
 * process was killed: a job runs, one waits for its second attempt, others wait by priority, with and without a server
 * of their choice. `bench/upgrade.ts` wrote it, without the parts that do not matter here.
 */
async function fill (redis: Redis, prefix: string, changeServer: (record: object) => object): Promise<void> {
  const stored = JSON.parse(await readFile(inRepository('test/queues/earlier-version.json'), 'utf8')) as Stored
  for (const [name, { type, value }] of Object.entries(stored)) {
    const key = prefix + name
    if (type === 'string') await redis.set(key, value)
    else if (type === 'hash') await redis.hset(key, value)
    else if (type === 'list') await redis.rpush(key, ...value)
    else for (let at = 0; at < value.length; at += 2) await redis.zadd(key, value[at + 1] ?? '', value[at] ?? '')
  }
  for (const [id, record] of Object.entries(await redis.hgetall(`${prefix}servers`))) {
    await redis.hset(`${prefix}servers`, id, JSON.stringify(changeServer(JSON.parse(record) as object)))
  }
}

for (const state of ['paused', 'disabled'] as const) {
  t.test(`the waiting jobs of the version before the pool run once each; its servers were ${state} first`, async t => {
    const server = await startTestRedis()
    t.teardown(server.stop)
    const look = new Redis(server.url)
    t.teardown(() => { look.disconnect() })
    const keys = createKeys('sq')
    await fill(look, keys.key(''), record => ({ ...record, ...state === 'paused' ? { paused: true } : { enabled: false } }))
    const before = await readJobs({ look, keys })
    const idOf = (prompt: string) => [...before.values()].find(job => job.submission.parameters.prompt === prompt)?.id ?? ''
    const [main, other] = [await startSimulator(fast), await startSimulator(fast)]
    t.teardown(main.close)
    t.teardown(other.close)
    const service = await startService(t, { redis: server, worker: 'none', servers: { Main: main.url, Other: other.url } })
    const worker = await startWorker(service.services)
    t.teardown(worker.close)

    const inPool = async () => [...await look.zrange(keys.key('own', ''), '0', '-1'),
      ...await look.zrange(keys.key('own', before.get(idOf('old key any 5 13'))?.keyId ?? '?'), '0', '-1')]
    await onNotices(service.services, async () => (await inPool()).length === before.size ? true : undefined)
    t.same([
      ...await findIndexProblems({ look, keys }), ...await findPoolProblems({ look, keys }),
      ...await findEntryProblems({ look, keys })
    ], [], 'records, indexes, pool and the queue of the dashboard agree')
    const order = (await inPool()).map(member => before.get(member.split(':').at(-1) ?? '')?.submission.parameters.prompt)
    const place = (prompt: string) => order.indexOf(prompt)
    t.ok(place('the running one') < place('old any 10 12'), 'what ran there is first')
    t.ok(place('old Main 10 4') < place('old Main 5 2') && place('old Main 5 2') < place('old Main 1 3'), 'by priority')
    for (const { id, target, keyId } of (await readJobs({ look, keys })).values()) {
      t.match(before.get(id), { target, keyId }, 'it keeps its server and its key')
    }
    t.equal((await service.request('POST', `/api/v2/jobs/${idOf('old any 5 10')}/run-now`)).status, 200)

    for (const alias of ['Main', 'Other']) {
      await service.request('POST', `/api/v1/servers/${alias}/resume`)
      await service.request('PUT', `/api/v1/servers/${alias}`, { enabled: true })
    }
    for (const id of before.keys()) t.equal((await service.until(id, 'completed', 'failed', 'cancelled')).status, 'completed')
    const generations = [main, other].flatMap(one => one.state().generations.map(({ taskId }) => taskId ?? ''))
    t.same(generations.toSorted(), [...before.keys()].toSorted(), 'each job is generated once')
    const ran = other.state().generations.map(({ taskId }) => taskId)
    t.ok(ran.includes(idOf('old Other 10 8')) && ran.includes(idOf('old Other 5 6')), 'each at the server of its choice')
    t.same(await findProblems(before.keys(), { look, keys, dataDirectory: service.dataDirectory, events: [] }), [])
  })
}
