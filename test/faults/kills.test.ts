import { watch } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { quick } from '../helper.ts'
import { unreferencedImages } from '../support/consistency.ts'
import { checkInvariants } from './invariants.ts'
import { startRedisProxy } from './redis-proxy.ts'
import { startFleet, type Api, type Fleet, type ServiceProcess } from './processes.ts'

/** Its first generation takes longer than any takeover; later ones do not. */
const long = { ...quick, prompt: 'a long one', steps: 40 }
const onceSlow = { kind: 'slow', factor: 120, prompt: long.prompt } as const

/** How often the server began a task. */
function generationsOf ({ simulator }: Fleet, id: string) {
  return simulator.state().generations.filter(({ taskId }) => taskId === id)
}

/** Milliseconds from a time to the job's next generation. */
function recovery (fleet: Fleet, id: string, since: number): number {
  return Math.min(...generationsOf(fleet, id).map(({ startedAt }) => startedAt - since).filter(passed => passed > 0))
}

async function allEnd (api: Api, ids: readonly string[]): Promise<void> {
  for (const id of ids) await api.until(id, 'completed', 'failed', 'cancelled')
}

/** Resolves when the server works on this task. */
async function untilGenerating (fleet: Fleet, id: string): Promise<void> {
  while (generationsOf(fleet, id).length === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
}

/** Orderly, so that the next worker need not wait until the lease expires. */
async function retire (worker: ServiceProcess): Promise<void> {
  worker.signal('SIGTERM')
  await worker.ended
}

t.test('api and worker processes', async t => {
  const fleet = await startFleet(t)
  const [api, firstWorker] = await Promise.all([fleet.api(), fleet.worker()])
  const accepted: string[] = []
  async function submit (...jobs: Array<Readonly<Record<string, unknown>>>): Promise<string[]> {
    const ids: string[] = []
    for (const job of jobs) ids.push(await api.submit(job))
    accepted.push(...ids)
    return ids
  }

  await t.test('a worker killed while one job generates and others wait for the send slot loses and doubles none', async t => {
    fleet.simulator.setFaults([onceSlow])
    const ids = await submit(long, quick, quick, quick)
    const [first = ''] = ids
    await untilGenerating(fleet, first)
    const killed = Date.now()
    await firstWorker.kill()
    const worker = await fleet.workerHere()
    await allEnd(api, ids)
    t.comment(`worker back at once: generating again after ${recovery(fleet, first, killed)} ms`)
    t.same(ids.map(id => generationsOf(fleet, id).length), [2, 1, 1, 1])
    t.match(generationsOf(fleet, first), [{ interrupted: true }, { interrupted: false, outcome: 'done' }],
      'what the dead worker had begun was stopped')
    const { maxInFlight, generations } = fleet.simulator.state()
    t.equal(maxInFlight, 1, 'the server never had two at once')
    t.same(generations.map(({ taskId }) => taskId), [first, ...ids], 'the order stayed')
    const jobs = await checkInvariants(t, accepted, fleet)
    t.match(jobs.get(first)?.attempts, [{ error: { code: 'worker_lost' } }])
    await worker.close()
  })

  await t.test('of two workers one serves a server; when it is killed, the other takes over', async t => {
    fleet.simulator.setFaults([onceSlow])
    const workers = await Promise.all([fleet.worker(), fleet.worker()])
    const ids = await submit(long, quick, quick, quick)
    const [first = '', second = ''] = ids
    await untilGenerating(fleet, first)
    const serving = (worker: ServiceProcess) => worker.output().includes('generation started')
    // The line can arrive after the request at the server.
    await Promise.any(workers.map(worker => worker.printed(/generation started/)))
    t.equal(workers.filter(serving).length, 1)
    const killed = Date.now()
    await workers.find(serving)?.kill()
    const { status } = await api.request('POST', `/api/v2/jobs/${first}/cancel`)
    t.equal(status, 200, 'it is cancelled while nobody serves')
    await allEnd(api, ids)
    t.ok(workers.every(serving))
    t.comment(`the other generates after ${recovery(fleet, second, killed)} ms`)
    t.match(generationsOf(fleet, first), [{ interrupted: true }], 'what nobody wants any more was stopped at the server')
    t.same(ids.map(id => generationsOf(fleet, id).length), [1, 1, 1, 1])
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    const jobs = await checkInvariants(t, accepted, fleet)
    t.same(ids.map(id => jobs.get(id)?.status), ['cancelled', 'completed', 'completed', 'completed'])
    for (const worker of workers) await retire(worker)
  })

  await t.test('a generation that still runs behind a dead worker is stopped before anything else is sent, even "run now"', async t => {
    fleet.simulator.setFaults([onceSlow])
    const [first = ''] = await submit(long)
    const worker = await fleet.worker()
    await untilGenerating(fleet, first)
    await worker.kill()
    const [urgent = ''] = await submit(quick)
    t.equal((await api.request('POST', `/api/v2/jobs/${urgent}/run-now`)).status, 200)
    const next = await fleet.workerHere()
    await allEnd(api, [urgent, first])
    t.equal(fleet.simulator.state().maxInFlight, 1, 'the server never had two at once')
    await checkInvariants(t, accepted, fleet)
    await next.close()
  })

  await t.test('a worker that is disconnected from Redis until another took over does not disturb it afterwards', async t => {
    // The second of its generations is shorter, but still longer than the cut.
    fleet.simulator.setFaults([{ ...onceSlow, times: 2, factor: 9 }, onceSlow])
    const proxy = await startRedisProxy(t, fleet.redis)
    const [first = '', second = '', third = ''] = await submit(long, quick, quick)
    const cutOff = await fleet.worker({ REDIS_URL: proxy.url })
    await untilGenerating(fleet, first)
    const other = await fleet.worker()
    proxy.cut()
    await other.printed(/generation started/)
    proxy.repair()
    await cutOff.printed(/another process serves/)
    await allEnd(api, [first, second, third])
    t.same([first, second, third].map(id => generationsOf(fleet, id).length), [2, 1, 1])
    t.match(generationsOf(fleet, first), [{ interrupted: true }, { interrupted: false, outcome: 'done' }])
    t.notMatch(other.output(), /its worker is gone.*its worker is gone/s, 'what it runs was not taken from it')
    await checkInvariants(t, accepted, fleet)
    await retire(cutOff)
    await retire(other)
  })

  await t.test('a worker killed while it stores images leaves no job with missing ones', async t => {
    const ids: string[] = []
    for (const imagesBefore of [1, 3]) {
      const worker = await fleet.worker()
      const stored = untilStored(fleet, imagesBefore)
      ids.push(...await submit({ ...quick, width: 256, height: 256, batch_size: 4 }))
      await stored
      await worker.kill()
    }
    const last = await fleet.workerHere()
    await allEnd(api, ids)
    const jobs = await checkInvariants(t, accepted, fleet)
    t.same(ids.map(id => [jobs.get(id)?.status, jobs.get(id)?.result?.images.length]), ids.map(() => ['completed', 4]))
    t.ok(ids.every(id => generationsOf(fleet, id).length <= 3), 'one generation more for each kill that hit it')
    t.comment(`${(await unreferencedImages(fleet, jobs)).length} files are left to a sweep`)
    await last.close()
  })

  await t.test('an API killed between accepting and answering makes one job of each repeated request', async t => {
    const requests = Array.from({ length: 20 }, (_, index) => ({
      body: { target_server_alias: 'Main', generation_params: { ...quick, prompt: `number ${index}` } },
      headers: { 'idempotency-key': `request ${index}` }
    }))
    let answered = 0
    const notices = fleet.look.duplicate()
    await notices.subscribe(fleet.keys.channel('jobs'))
    notices.once('message', () => { api.signal('SIGKILL') })
    const first = await Promise.all(requests.map(async ({ body, headers }) => {
      const answer = await api.request('POST', '/api/v2/generate', body, headers).catch(() => null)
      if (answer !== null) answered++
      return answer
    }))
    await api.ended
    notices.disconnect()
    t.comment(`${answered} of ${requests.length} were answered before the kill`)
    const [again, worker] = await Promise.all([fleet.apiHere(), fleet.workerHere()])
    const second = await Promise.all(requests.map(async ({ body, headers }) =>
      await again.request('POST', '/api/v2/generate', body, headers)))
    t.ok(second.every(({ status }) => status === 202))
    const ids = second.map(({ body }) => String(body.id))
    t.equal(new Set(ids).size, requests.length)
    for (const [index, answer] of first.entries()) if (answer !== null) t.equal(answer.body.id, ids[index])
    await allEnd(again, ids)
    t.same(ids.map(id => generationsOf(fleet, id).length), ids.map(() => 1))
    t.equal((await again.request('GET', '/api/v2/jobs')).body.total, accepted.length + ids.length, 'no job but these')
    await checkInvariants(t, [...accepted, ...ids], fleet)
    await worker.close()
  })
})

/** Resolves when this many more images have their final names. */
async function untilStored ({ dataDirectory }: Fleet, count: number): Promise<void> {
  const watcher = watch(join(dataDirectory, 'outputs'))
  const seen = new Set<string>()
  try {
    while (seen.size < count) {
      const [, name] = await once(watcher, 'change') as [string, string]
      if (!name.startsWith('.')) seen.add(name)
    }
  } finally {
    watcher.close()
  }
}

t.test('the whole service, killed and started again, continues with its private Redis', async t => {
  const fleet = await startFleet(t)
  const before = await fleet.allInOne()
  fleet.simulator.setFaults([onceSlow])
  const ids = [await before.submit(long), await before.submit(quick), await before.submit(quick)]
  const [first = ''] = ids
  await untilGenerating(fleet, first)
  const killed = Date.now()
  await before.kill()
  const after = await fleet.allInOne()
  t.comment(`ready ${Date.now() - killed} ms after the kill`)
  t.match(after.output(), /Adopted the private Redis/)
  await allEnd(after, ids)
  t.comment(`generating again ${recovery(fleet, first, killed)} ms after kill -9 of everything but Redis`)
  t.same(ids.map(id => generationsOf(fleet, id).length), [2, 1, 1])
  await checkInvariants(t, ids, { ...fleet, look: after.look })
  after.signal('SIGTERM')
  t.same(await after.ended, { code: 0, signal: null })
})
