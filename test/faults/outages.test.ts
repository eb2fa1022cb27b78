import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { entriesLua } from '../../queues/generation-queue.ts'
import { endJob, loadQueueScripts, noteProgress, startJob } from '../../src/jobs/scripts/index.ts'
import { startTestRedis } from '../redis.ts'
import { quick, startService } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet, untilAllEnded } from './processes.ts'
import { startRedisProxy } from './redis-proxy.ts'

const { createJob, claimJob, returnJob } = loadQueueScripts(entriesLua)

t.test('a lost answer of Redis loses neither a job nor its images', async t => {
  const redis = await startTestRedis()
  t.teardown(redis.stop)
  const proxy = await startRedisProxy(t, redis)
  const service = await startService(t, { redis: proxy, simulator: { stepMilliseconds: 20 } })
  const traces = { look: service.services.redis, keys: service.services.keys, dataDirectory: service.dataDirectory }
  const ids = [await service.submit(quick)]
  await service.until(ids[0] ?? '', 'completed')

  for (const script of [createJob, claimJob, startJob, noteProgress, endJob]) {
    await t.test(script.scriptName, async t => {
      proxy.loseAnswerTo(script)
      const before = proxy.lost()
      const id = await service.submit({ ...quick, steps: 40 })
      ids.push(id)
      t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
      t.equal(proxy.lost(), before + 1)
      t.equal(service.simulator.state().generations.filter(({ taskId }) => taskId === id).length, 1)
      await checkInvariants(t, ids, traces)
    })
  }
  await t.test(returnJob.scriptName, async t => {
    service.simulator.setFaults([{ kind: 'cut-body' }])
    proxy.loseAnswerTo(returnJob)
    const id = await service.submit(quick)
    ids.push(id)
    t.equal((await service.until(id, 'completed', 'failed')).status, 'completed')
    await checkInvariants(t, ids, traces)
  })
})

t.test('Redis killed and started again under load: accepted jobs are done, once', async t => {
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const [api] = await Promise.all([fleet.apiHere(), fleet.workerHere()])
  const accepted = new Set<string>()
  const refused = new Map<number, number>()
  const over = new AbortController()

  /** Submits one job after another, each until it is accepted, like a client with Idempotency-Keys. */
  async function submitOn (name: string): Promise<void> {
    for (let number = 0; !over.signal.aborted; number++) {
      for (let taken = false; !taken;) {
        const { status, body } = await api.request('POST', '/api/v2/generate',
          { target_server_alias: 'Main', generation_params: { ...quick, steps: 6, prompt: `${name} ${number}` } },
          { 'idempotency-key': `${name} ${number}` })
        taken = status === 202
        if (taken) accepted.add(String(body.id))
        else refused.set(status, (refused.get(status) ?? 0) + 1)
        await sleep(taken ? 40 : 100)
      }
    }
  }
  const clients = ['one', 'two', 'three'].map(submitOn)
  const kills = 4
  for (let kill = 0; kill < kills; kill++) {
    await sleep(700)
    await fleet.redis.kill()
    await sleep(kill * 300)
    await fleet.redis.restart()
    const back = Date.now()
    const done = fleet.simulator.state().generations.length
    while (fleet.simulator.state().generations.length === done) await sleep(10)
    t.comment(`generating ${Date.now() - back} ms after Redis was back`)
  }
  over.abort()
  await Promise.all(clients)
  await untilAllEnded(fleet)
  const { generations, maxInFlight } = fleet.simulator.state()
  t.comment(`${accepted.size} accepted, ${generations.length} generations, refused: ${JSON.stringify([...refused])}`)
  t.same([...refused.keys()].filter(status => status !== 503), [], 'what could not be taken was answered with 503')
  t.equal(maxInFlight, 1)
  const jobs = await checkInvariants(t, accepted, fleet)
  t.same([...jobs.values()].filter(({ status }) => status !== 'completed'), [])
  t.equal(generations.length, jobs.size, 'each was generated once, since no worker died')
})

t.test('a repeated request gets the answer of the first one, even while that still runs', async t => {
  const service = await startService(t, { worker: 'none' })
  const answers = await Promise.all(Array.from({ length: 20 }, async () =>
    await service.request('POST', '/api/v2/generate', { target_server_alias: 'Main', generation_params: quick },
      { 'idempotency-key': 'the same' })))
  t.same(answers.filter(({ status }) => status !== 202), [])
  t.equal(new Set(answers.map(({ body }) => body.id)).size, 1)
  t.equal(new Set(answers.map(({ body }) => body.seed)).size, 1, 'with the seed that it will have')
  const job = await service.services.store.get(String(answers[0]?.body.id))
  t.equal(answers[0]?.body.seed, job.submission.parameters.seed)
  t.equal((await service.request('GET', '/api/v2/jobs')).body.total, 1)
})
