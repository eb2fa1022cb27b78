import t from 'tap'
import { quick } from '../helper.ts'
import { checkInvariants } from './invariants.ts'
import { startFleet, type Api, type Fleet, type ServiceProcess } from './processes.ts'

/** Its first generation lasts until it is stopped. */
const long = { ...quick, prompt: 'a long one', steps: 20, clip_skip: 2, checkpoint_name: 'two' }
const onceSlow = { kind: 'slow', factor: 60, prompt: long.prompt } as const
const nothingLeft = { marks: {}, checkpoint: 'one.safetensors' }

const checkpointOf = ({ simulator }: Fleet) => String(simulator.options().all.sd_model_checkpoint).replace(/ \[.*/, '')
const clipSkipOf = ({ simulator }: Fleet) => simulator.options().all.CLIP_stop_at_last_layers

async function until (isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise(resolve => { setTimeout(resolve, 5) })
}

/** The options of a job's last generation. */
function usedBy ({ simulator }: Fleet, id: string) {
  const found = simulator.state().generations.findLast(({ taskId }) => taskId === id)
  return { marks: found?.marks, checkpoint: found?.checkpoint }
}

async function run (fleet: Fleet, api: Api, parameters: object = {}) {
  const id = await api.submit({ ...quick, steps: 1, ...parameters })
  const { status } = await api.until(id, 'completed', 'failed')
  return { status, ...usedBy(fleet, id) }
}

async function byHand ({ simulator }: Fleet) {
  const { marks, checkpoint } = await simulator.generateByHand({ steps: 1 })
  return { marks, checkpoint }
}

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`kill -9 of workers in front of ${flavor}`, async t => {
    const fleet = await startFleet(t, { flavor, checkpoints: ['one.safetensors', 'two.safetensors'] })
    const api = await fleet.apiHere()
    let worker = await fleet.worker()
    await run(fleet, api)

    async function submitLong (): Promise<string> {
      fleet.simulator.setFaults([onceSlow])
      const id = await api.submit(long)
      await until(() => clipSkipOf(fleet) === 2 && checkpointOf(fleet) === 'two.safetensors')
      return id
    }

    /** All work of the dead worker is over. */
    async function end (id: string): Promise<void> {
      await api.until(id, 'completed', 'failed', 'cancelled')
      await until(() => checkpointOf(fleet) === 'one.safetensors' && clipSkipOf(fleet) !== 2)
    }

    async function next (serving: ServiceProcess): Promise<void> {
      await serving.kill()
      worker = await fleet.worker()
    }

    await t.test('under a generation leaves its settings and checkpoint to no other job', async t => {
      const id = await submitLong()
      await next(worker)
      t.match(await run(fleet, api), { status: 'completed', ...nothingLeft })
      await end(id)
      t.match(usedBy(fleet, id), { marks: { 'Clip skip': 2 }, checkpoint: 'two.safetensors' })
      t.strictSame(await byHand(fleet), nothingLeft)
      await checkInvariants(t, [id], fleet)
    })

    await t.test('and of the server, which had saved them, leaves none either', async t => {
      const id = await submitLong()
      // as when a person saves any other setting meanwhile
      await fleet.simulator.changeOptions({ samples_format: 'png' })
      await worker.kill()
      await fleet.simulator.restart({ refuseMilliseconds: 50 })
      t.strictSame([clipSkipOf(fleet), checkpointOf(fleet)], [2, 'two.safetensors'], 'the server took them for its own')
      worker = await fleet.worker()
      t.match(await run(fleet, api), { status: 'completed', ...nothingLeft })
      await end(id)
      t.strictSame(await byHand(fleet), nothingLeft)
    })

    // the rest is the same for both
    if (flavor === 'forge') return

    await t.test('while a checkpoint is loaded that the server does not restore gives people theirs again', async t => {
      fleet.simulator.setRestores('none')
      const id = await submitLong()
      await worker.kill()
      await api.request('POST', `/api/v2/jobs/${id}/cancel`)
      worker = await fleet.worker()
      await end(id)
      t.strictSame(await byHand(fleet), nothingLeft)
      fleet.simulator.setRestores('saved')
    })

    await t.test('while another worker waits for the server leaves nothing to its jobs', async t => {
      const other = await fleet.worker()
      const id = await submitLong()
      await worker.kill()
      const plain = await run(fleet, api)
      t.match(plain, { status: 'completed', ...nothingLeft })
      await end(id)
      t.strictSame(await byHand(fleet), nothingLeft)
      t.match(other.output(), /generation started/)
      worker = other
    })

    await t.test('keeps the changes that a person makes while no worker runs', async t => {
      const id = await submitLong()
      await worker.kill()
      await api.request('POST', `/api/v2/jobs/${id}/cancel`)
      await fleet.simulator.restart({ freshConfig: true })
      await fleet.simulator.changeOptions({ CLIP_stop_at_last_layers: 3 })
      await fleet.workerHere()
      t.match(await run(fleet, api), { status: 'completed', marks: { 'Clip skip': 3 } })
      t.match(await run(fleet, api, { clip_skip: 2 }), { marks: { 'Clip skip': 2 } })
      t.match((await byHand(fleet)).marks, { 'Clip skip': 3 })
    })
  })
}
