import t from 'tap'
import { inventoryOf } from '../a1111/inventory.ts'
import { startSimulator, type Simulator } from '../../src/simulator/simulator.ts'
import { startWorker } from '../../src/main/worker.ts'
import { quick, startService } from '../helper.ts'

interface StartOptions { readonly bareMilliseconds: number, readonly mountMilliseconds: number }

/** Milliseconds for which parts are missing after a server opens its port. */
const windows = [20, 300, 5000]
const starts: Readonly<Record<'a1111' | 'forge', (window: number) => StartOptions>> = {
  a1111: window => ({ bareMilliseconds: window, mountMilliseconds: 20 }),
  forge: window => ({ bareMilliseconds: 20, mountMilliseconds: window })
}
const nothingListed = inventoryOf({ missing: ['loras'] })
/** One image and its grid; Forge fails if an argument is missing. */
const plot = [0, '', [], 0, '', [], 0, '', [], true, true, false, false, false, false, false, 0, false]
const jobKinds = [
  { ...quick, alwayson_scripts: { ControlNet: { args: [{ enabled: false }] } } },
  { ...quick, script_name: 'X/Y/Z plot', script_args: plot },
  quick
]

t.test('a job on a server that was still starting is sent again, and uses no attempt', async t => {
  // Without the lists that are mounted last, nothing shows that its scripts are not ready.
  const service = await startService(t, { worker: 'none', simulator: { controlNet: false, mountMilliseconds: 600_000 } })
  const { simulator, services } = service
  const [server] = services.registry.list()
  await services.states.write(server?.id ?? '', {
    reachable: 'no', since: 0, checkedAt: 0, lastError: null, traits: null, inventoryReadAt: 0
  })
  await services.states.writeInventory(server?.id ?? '', nothingListed)
  const worker = await startWorker(services, { whileUp: 1000, whileDown: 50, inventory: 1000 })
  t.teardown(worker.close)
  const id = await service.submit({ ...quick, alwayson_scripts: { Refiner: { args: [false, '', 0.8] } } })
  while (simulator.state().earlyWork === 0) await new Promise(resolve => setTimeout(resolve, 10))
  await simulator.restart({ mountMilliseconds: 0 })
  const job = await service.until(id, 'completed', 'failed')
  t.equal(job.status, 'completed', JSON.stringify(job.error))
  t.equal((await service.services.store.get(id)).usedAttempts, 0)
})

t.test('servers that die under a generation start undisturbed, and get no work before they are complete', async t => {
  const simulators: Array<{ alias: string, simulator: Simulator, how: StartOptions }> = []
  for (const flavor of ['a1111', 'forge'] as const) {
    for (const window of windows) {
      const simulator = await startSimulator({ flavor, stepMilliseconds: 20 })
      t.teardown(simulator.close)
      simulators.push({ alias: `${flavor}-${window}`, simulator, how: starts[flavor](window) })
    }
  }
  const servers = Object.fromEntries(simulators.map(({ alias, simulator }) => [alias, simulator.url]))
  const service = await startService(t, { servers, settings: { SERVER_START_SECONDS: '5.5' } })
  const jobs = await Promise.all(simulators.map(async ({ alias, simulator, how }) => {
    const submit = async (parameters: object) => await service.submit({ ...parameters }, { target_server_alias: alias })
    const running = await submit({ ...quick, steps: 50 })
    await service.until(running, 'processing')
    while (simulator.state().inFlight === 0) await new Promise(resolve => setTimeout(resolve, 10))
    const waiting = await Promise.all(jobKinds.map(submit))
    await simulator.restart({ refuseMilliseconds: 300, ...how })
    return [running, ...waiting]
  }))
  for (const id of jobs.flat()) {
    const job = await service.until(id, 'completed', 'failed')
    t.equal(job.status, 'completed', JSON.stringify(job.error))
  }
  for (const { alias, simulator } of simulators) {
    const { startDeaths, earlyWork, crashes, sends } = simulator.state()
    t.same({ startDeaths, earlyWork, crashes }, { startDeaths: 0, earlyWork: 0, crashes: 1 }, alias)
    t.same(Object.values(sends).sort(), [1, 1, 1, 2], `${alias}: only what was running is sent again`)
  }
})
