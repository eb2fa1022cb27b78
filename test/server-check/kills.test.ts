import t from 'tap'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ServerCheckView } from '../../schemas/server-check.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { startFleet, type Api, type Fleet } from '../faults/processes.ts'
import { quick } from '../helper.ts'

const path = '/api/v2/servers/Main/check'
const view = async (api: Api) => (await api.request('GET', path)).body as unknown as ServerCheckView
const server = async (api: Api) => (await api.request('GET', '/api/v1/servers/Main')).body

type Generation = ReturnType<Simulator['state']>['generations'][number]

/** How to recognise the generations of each step at the server; the earlier steps make three. */
const steps: Readonly<Record<string, (generation: Generation) => boolean>> = {
  interrupt: ({ taskId }) => taskId?.endsWith('-4') === true,
  overrides: ({ overrides }) => 'randn_source' in (overrides ?? {}),
  selection: ({ overrides }) => 'sd_model_checkpoint' in (overrides ?? {})
}

/** Waits until a generation of the step has begun, which then stalls until the faults are removed. */
async function holdAt (simulator: Simulator, step: string): Promise<void> {
  const hang = () => { simulator.setFaults([{ kind: 'hang', sticky: true, prompt: 'grey', afterSteps: 0 }]) }
  hang()
  let passed: Generation | undefined
  for (;;) {
    const last = simulator.state().generations.findLast(({ outcome }) => outcome === 'running')
    if (last !== undefined && steps[step]?.(last) === true) return
    if (last !== undefined && last.taskId !== passed?.taskId) {
      passed = last
      simulator.setFaults([])
      hang()
    }
    await sleep(2)
  }
}

async function optionsOf ({ url }: Simulator): Promise<Record<string, unknown>> {
  return await (await fetch(`${url}/sdapi/v1/options`)).json() as Record<string, unknown>
}

/** Runs a first job, so that the server is served and known. */
async function warmUp (api: Api): Promise<void> {
  await api.until(await api.submit(quick), 'completed')
}

async function untilEnded (api: Api): Promise<ServerCheckView> {
  for (;;) {
    const { status, body } = await api.request('GET', path)
    const seen = body as unknown as ServerCheckView
    if (status === 200 && seen.check?.state === 'ended' && seen.report?.put_back !== 'pending') return seen
    await sleep(20)
  }
}

t.test('at whatever step the worker is killed, the next one puts everything back, and the queue continues', async t => {
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const { simulator } = fleet
  const api = await fleet.apiHere()
  let worker = await fleet.worker()
  await warmUp(api)
  const before = await optionsOf(simulator)

  for (const step of Object.keys(steps)) {
    await t.test(step, async t => {
      t.equal((await api.request('POST', path, { checkpoint: 'anime-pastel' })).status, 202)
      const waiting = await api.submit(quick)
      await holdAt(simulator, step)
      await worker.kill()
      simulator.setFaults([])
      t.match(await server(api), { paused: true, checking: true }, 'it is held while nobody serves it')
      worker = await fleet.worker()
      t.equal((await api.until(waiting, 'completed', 'failed')).status, 'completed', 'the line goes on')
      const { report } = await untilEnded(api)
      t.match(report, { outcome: 'broken_off', put_back: 'done' })
      t.same(await optionsOf(simulator), before, 'settings and selection as before')
      t.match(await server(api), { paused: false, checking: false })
    })
  }

  await t.test('a queue that an operator has paused stays paused', async t => {
    await api.request('POST', '/api/v1/servers/Main/pause', { reason: 'Mine' })
    await api.request('POST', path)
    await holdAt(simulator, 'interrupt')
    await worker.kill()
    simulator.setFaults([])
    await fleet.workerHere()
    t.match((await untilEnded(api)).report, { outcome: 'broken_off' })
    t.match(await server(api), { paused: true, checking: false, pause_reason: 'Mine' })
  })
  t.equal(simulator.state().maxInFlight, 1, 'never two generations side by side')
})

t.test('the whole service is killed while a check has changed settings', async t => {
  const fleet = await startFleet(t, { stepMilliseconds: 5 })
  const { simulator } = fleet
  const api = await fleet.allInOne()
  await warmUp(api)
  const before = await optionsOf(simulator)
  await api.request('POST', path)
  const waiting = await api.submit(quick)
  await holdAt(simulator, 'overrides')
  await api.kill()
  simulator.setFaults([])
  const next = await fleet.allInOne()
  t.equal((await next.until(waiting, 'completed', 'failed')).status, 'completed')
  t.match((await untilEnded(next)).report, { outcome: 'broken_off', put_back: 'done' })
  t.same(await optionsOf(simulator), before)
  t.equal((await view(next)).check?.state, 'ended')
})

const outages: Readonly<Record<string, (fleet: Fleet) => Promise<() => Promise<void>>>> = {
  async 'is killed' ({ redis }) {
    await redis.kill()
    return redis.restart
  },
  async 'stands still' ({ redis }) {
    process.kill(redis.pid(), 'SIGSTOP')
    return async () => { process.kill(redis.pid(), 'SIGCONT') }
  }
}

for (const [what, strike] of Object.entries(outages)) {
  t.test(`Redis ${what} during a check, and nothing stays changed`, async t => {
    const fleet = await startFleet(t, { stepMilliseconds: 5 })
    const { simulator } = fleet
    const [api] = await Promise.all([fleet.apiHere(), fleet.workerHere()])
    await warmUp(api)
    const before = await optionsOf(simulator)
    await api.request('POST', path)
    const waiting = await api.submit(quick)
    await holdAt(simulator, 'overrides')
    const repair = await strike(fleet)
    simulator.setFaults([])
    while (simulator.state().inFlight > 0) await sleep(5)
    await repair()
    t.match((await untilEnded(api)).report, { put_back: 'done' })
    t.equal((await api.until(waiting, 'completed', 'failed')).status, 'completed')
    t.same(await optionsOf(simulator), before)
    t.match(await server(api), { paused: false, checking: false })
    t.equal(simulator.state().maxInFlight, 1)
  })
}
