import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import t from 'tap'
import { quick } from '../helper.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { checkInvariants } from './invariants.ts'
import { type ServiceProcess, startFleet } from './processes.ts'

const aliases = ['A', 'B', 'C', 'D'] as const

t.test('servers are spread over the workers', async t => {
  const fleet = await startFleet(t)
  const { look, keys } = fleet
  const simulators = await Promise.all(aliases.map(async () => {
    const simulator = await startSimulator({ stepMilliseconds: 2, loadMilliseconds: 0 })
    t.teardown(simulator.close)
    return simulator
  }))
  const settings = { SERVERS: aliases.map((alias, index) => `${alias}=${simulators[index]?.url ?? ''}`).join() }
  const api = await fleet.apiHere(settings)
  const ids = (await api.request('GET', '/api/v1/servers')).body as unknown as ReadonlyArray<{ id: string }>
  const accepted: string[] = []

  /** The number of servers that each process holds. */
  async function held (): Promise<number[]> {
    const leases = await Promise.all(ids.map(async ({ id }) => await look.get(keys.key('lease', id))))
    return fleet.processes.map(({ pid }) => leases.filter(text => text?.includes(`"pid":${pid},`)).length)
      .filter(count => count > 0)
  }

  async function untilHeld (...counts: number[]): Promise<void> {
    while ((await held()).join() !== counts.join()) await sleep(20)
  }

  async function submitAll (): Promise<string[]> {
    const jobs = await Promise.all(aliases.map(async alias => await api.submit(quick, { target_server_alias: alias })))
    accepted.push(...jobs)
    return jobs
  }

  /** Jobs that generate until `proceed`. */
  async function submitLong (): Promise<string[]> {
    for (const simulator of simulators) simulator.setFaults([{ kind: 'hang' }])
    const jobs = await submitAll()
    while (jobs.some(id => generationsOf(id).length === 0)) await sleep(5)
    return jobs
  }

  function proceed (): void {
    for (const simulator of simulators) simulator.setFaults([])
  }

  /** Resolves when a worker asked for its share, whose servers begin nothing more. */
  async function untilOnlyRunning (): Promise<void> {
    for (let paused = 0; paused < 2; await sleep(20)) {
      const all = await Promise.all(ids.map(async ({ id }) =>
        await look.hexists(`${keys.bullPrefix}:generation-${id}:meta`, 'paused')))
      paused = all.filter(is => is === 1).length
    }
  }

  async function allEnd (): Promise<void> {
    const ended = await Promise.all(accepted.map(async id => await api.until(id, 'completed', 'failed', 'cancelled')))
    t.same(ended.filter(({ status }) => status !== 'completed'), [])
  }

  const generationsOf = (id: string) =>
    simulators.flatMap(simulator => simulator.state().generations.filter(({ taskId }) => taskId === id))

  /** Kills the process when a lease is handed over. */
  async function killAtHandOver (worker: ServiceProcess): Promise<void> {
    const subscriber = new Redis(fleet.redis.url)
    await subscriber.subscribe(keys.channel('leases'))
    await new Promise<void>(resolve => {
      subscriber.once('message', () => {
        worker.signal('SIGKILL')
        resolve()
      })
    })
    await worker.ended
    subscriber.disconnect()
  }

  const first = await fleet.worker(settings)
  let second: ServiceProcess | undefined
  await untilHeld(4)
  await t.test('a process with another DATA_DIR refuses to start', async t => {
    const folder = t.testdir()
    await copyFile(join(fleet.dataDirectory, 'master.key'), join(folder, 'master.key'))
    await t.rejects(fleet.worker({ ...settings, DATA_DIR: folder }), { message: new RegExp(`DATA_DIR is ${folder}, which is not`) })
  })

  await t.test('a worker that joins gets its share, each server after what runs there', async t => {
    const running = await submitLong()
    const waiting = await submitAll()
    second = await fleet.worker(settings)
    await untilOnlyRunning()
    t.same(await held(), [4])
    proceed()
    await untilHeld(2, 2)
    await allEnd()
    t.match(running.flatMap(generationsOf), running.map(() => ({ interrupted: false, outcome: 'done' })), 'each once, to its end')
    t.same(waiting.map(id => generationsOf(id).length), [1, 1, 1, 1])
    t.match(second.output(), /generation started/, 'the waiting jobs run there')
    t.notMatch(first.output() + second.output(), /its worker is gone|could not/)
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('nothing moves back and forth', async t => {
    const fences = async () => await look.mget(ids.map(({ id }) => keys.key('lease', id, 'fence')))
    const before = await fences()
    const beats = async () => (await look.hvals(keys.key('workers'))).map(text => Number(/\d+/.exec(text)?.[0]))
    const until = (await beats()).map(beat => beat + 3)
    await submitAll()
    await allEnd()
    while ((await beats()).some((beat, index) => beat < (until[index] ?? 0))) await sleep(50)
    t.same(await fences(), before)
  })

  await t.test('a worker that leaves gives its share to the other', async t => {
    second?.signal('SIGTERM')
    await second?.ended
    await untilHeld(4)
    await submitAll()
    await allEnd()
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('a worker that dies while a server is handed to it loses and doubles nothing', async t => {
    const jobs = await submitLong()
    await submitAll()
    const heir = await fleet.worker(settings)
    await untilOnlyRunning()
    const killed = killAtHandOver(heir)
    proceed()
    await killed
    await untilHeld(4)
    await allEnd()
    t.same(jobs.map(id => generationsOf(id).length), [1, 1, 1, 1])
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('a worker that dies while it hands servers over loses and doubles nothing', async t => {
    const jobs = await submitLong()
    await submitAll()
    await fleet.worker(settings)
    await untilOnlyRunning()
    const killed = killAtHandOver(first)
    proceed()
    await killed
    await untilHeld(4)
    await allEnd()
    t.ok(jobs.every(id => generationsOf(id).length <= 2), 'one generation more for those that the kill hit')
    await checkInvariants(t, accepted, fleet)
  })

  await t.test('a server that is drained says when it is empty, also if its worker dies meanwhile', async t => {
    const [jobs, { body: { id: drained } }] = [await submitLong(), await api.request('GET', '/api/v1/servers/A')]
    t.equal((await api.request('POST', '/api/v1/servers/A/drain')).status, 200)
    const events = async () => (await look.xrange(keys.key('events'), '-', '+')).map(([, fields]) => fields)
      .filter(fields => fields.includes('server-drained') && fields.includes(String(drained)))
    for (const process of fleet.processes) process.signal('SIGKILL')
    t.same(await events(), [])
    proceed()
    await fleet.workerHere(settings)
    while ((await events()).length === 0) await sleep(20)
    const [bound = '', ...others] = jobs
    for (const id of others) t.equal((await api.until(id, 'completed', 'failed')).status, 'completed')
    t.match((await api.request('GET', '/api/v1/servers/A')).body, { draining: true, drained: true, processing: 0 })
    t.match(await api.job(bound), { status: 'pending', target_server_alias: 'A' }, 'the job that needs it waits')
    t.equal((await events()).length, 1, 'it says so once')
    await api.request('POST', '/api/v1/servers/A/resume')
    await allEnd()
    await checkInvariants(t, accepted, fleet)
  })
})
