import t, { type Test } from 'tap'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet, type Fleet } from './processes.ts'

const long = { ...quick, prompt: 'a long one', steps: 40 }
const onceSlow = { kind: 'slow', factor: 25, prompt: long.prompt } as const

/** Resolves when a generation has reached the server, running or not. */
async function untilSent ({ simulator }: Fleet): Promise<void> {
  while (simulator.state().inFlight === 0) await new Promise(resolve => { setTimeout(resolve, 5) })
}

t.test('a service that gets a signal to stop', async t => {
  const fleet = await startFleet(t)
  const api = await fleet.api()
  const accepted: string[] = []
  async function submitAll (...jobs: Array<Readonly<Record<string, unknown>>>): Promise<string[]> {
    const ids: string[] = []
    for (const job of jobs) ids.push(await api.submit(job))
    accepted.push(...ids)
    return ids
  }
  /** The next worker must finish these jobs. */
  async function finish (t: Test, ...ids: readonly string[]) {
    for (const id of ids) t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    await checkInvariants(t, accepted, fleet)
  }
  async function finishWithNext (t: Test, id: string) {
    const next = await fleet.workerHere()
    await finish(t, id)
    await next.close()
  }
  const generationsOf = (id: string) => fleet.simulator.state().generations.filter(({ taskId }) => taskId === id)

  await t.test('returns a running job, which is first in the queue again and finishes after the next start', async t => {
    fleet.simulator.setFaults([onceSlow])
    const worker = await fleet.worker()
    const ids = await submitAll(long, quick, quick)
    const [first = ''] = ids
    await untilSent(fleet)
    const asked = Date.now()
    worker.signal('SIGTERM')
    t.same(await worker.ended, { code: 0, signal: null })
    t.comment(`stopped after ${Date.now() - asked} ms`)
    t.match(generationsOf(first), [{ interrupted: true }], 'it was stopped at the server')
    const waiting = await Promise.all(ids.map(async id => await api.job(id)))
    t.same(waiting.map(({ status, queue_position: place }) => [status, place]),
      [['pending', 1], ['pending', 2], ['pending', 3]])
    t.same(waiting[0]?.attempts, [], 'a stop is no failed attempt')
    const next = await fleet.worker()
    await finish(t, ...ids)
    next.signal('SIGINT')
    t.same(await next.ended, { code: 0, signal: null }, 'Ctrl-C does the same')
  })

  await t.test('stops too if the server does not answer', async t => {
    fleet.simulator.setFaults([{ kind: 'stuck-lock', prompt: long.prompt, sticky: true }])
    const worker = await fleet.worker()
    const [id = ''] = await submitAll(long)
    await untilSent(fleet)
    const asked = Date.now()
    worker.signal('SIGTERM')
    t.same(await worker.ended, { code: 0, signal: null })
    t.comment(`stopped after ${Date.now() - asked} ms`)
    t.equal((await api.job(id)).status, 'pending')
    fleet.simulator.setFaults([])
    await finishWithNext(t, id)
  })

  await t.test('exits at once on a second signal, and loses nothing', async t => {
    fleet.simulator.setFaults([{ kind: 'stuck-lock', prompt: long.prompt, sticky: true }])
    const worker = await fleet.worker()
    const [id = ''] = await submitAll(long)
    await untilSent(fleet)
    worker.signal('SIGTERM')
    await worker.printed(/"msg":"stopping"/)
    worker.signal('SIGTERM')
    t.match(await worker.ended, { signal: null })
    fleet.simulator.setFaults([])
    await finishWithNext(t, id)
  })

  await t.test('stops in time while Redis is away', async t => {
    fleet.simulator.setFaults([onceSlow])
    const [worker, other] = await Promise.all([fleet.worker(), fleet.api()])
    const [id = ''] = await submitAll(long)
    await untilSent(fleet)
    await fleet.redis.kill()
    const asked = Date.now()
    for (const process of [worker, other]) process.signal('SIGTERM')
    t.same(await Promise.all([worker.ended, other.ended]), [{ code: 0, signal: null }, { code: 0, signal: null }])
    t.comment(`stopped after ${Date.now() - asked} ms`)
    await fleet.redis.restart()
    await finishWithNext(t, id)
    t.match(generationsOf(id), [{ interrupted: true }, { interrupted: false }])
  })

  await t.test('stops in order while it is still starting, and says so', async t => {
    for (const timestamp of [/Started the private Redis/, /server is (?:up|down)/, /API docs/]) {
      const starting = await fleet.starting()
      await starting.printed(timestamp)
      starting.signal('SIGTERM')
      t.same(await starting.ended, { code: 0, signal: null }, `after ${String(timestamp)}`)
      t.match(starting.output(), /"signal":"SIGTERM","msg":"stopping"[^]*"msg":"stopped"/)
      t.notMatch(starting.output(), /"level":[56]0/, 'nothing went wrong by it')
    }
  })

  api.signal('SIGTERM')
  t.same(await api.ended, { code: 0, signal: null })
  t.equal(await fetch(api.url + '/health').then(() => 'answers', () => 'refuses'), 'refuses')
})
