import t from 'tap'
import type { RestoreSelection } from '../../src/servers/registry.ts'
import type { SimulatorOptions } from '../../src/simulator/simulator.ts'
import { quick, startService, type Service } from '../helper.ts'

const checkpoints = ['mine.safetensors', 'x.safetensors', 'y.safetensors', 'other.safetensors']
const options = '/sdapi/v1/options'

async function start (
  t: Parameters<typeof startService>[0], mode: RestoreSelection, simulator: SimulatorOptions
): Promise<Service> {
  const service = await startService(t, {
    settings: { RATE_LIMIT_PER_MINUTE: '0' }, simulator: { speed: Infinity, checkpoints, ...simulator }
  })
  const { registry } = service.services
  await registry.update(registry.require('Main').id, { restoreSelection: mode })
  return service
}

/** The checkpoint of a job's generation, by the answer of the A1111-compatible API. */
async function usedBy (service: Service, checkpoint?: string): Promise<string> {
  const named = checkpoint === undefined ? {} : { override_settings: { sd_model_checkpoint: checkpoint } }
  const { body } = await service.request('POST', '/sdapi/v1/txt2img', { ...quick, steps: 1, ...named })
  return String((JSON.parse(String(body.info)) as { sd_model_name: string }).sd_model_name)
}

const bare = (title: unknown): string => String(title).replace(/\.safetensors.*/, '')
const usedByHand = async ({ simulator }: Service) => bare((await simulator.generateByHand({ steps: 1 })).checkpoint)
const selected = ({ simulator }: Service) => bare(simulator.options().all.sd_model_checkpoint)

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`on ${flavor} each job gets its own checkpoint round after round, also one that names none`, async t => {
    const service = await start(t, 'when idle', { flavor })
    const { registry } = service.services
    const wrong: string[] = []
    const note = (who: string, used: string, meant: string) => { if (used !== meant) wrong.push(`${who}: ${used}`) }
    const select = async (name: string) => {
      await service.simulator.changeOptions({ sd_model_checkpoint: `${name}.safetensors` })
    }

    async function play (mode: RestoreSelection, rounds: number): Promise<void> {
      await registry.update(registry.require('Main').id, { restoreSelection: mode })
      let own = 'mine'
      await select(own)
      service.simulator.reset()
      for (let round = 0; round < rounds; round++) {
        const [x, y, none] = await Promise.all([usedBy(service, 'x'), usedBy(service, 'y'), usedBy(service)])
        note('x', x, 'x')
        note('y', y, 'y')
        note('none', none, own)
        if (round % 10 === 5) own = own === 'mine' ? 'other' : 'mine'
        // if it is never restored, the last job's checkpoint stays selected
        if (mode === 'never' || round % 10 === 5) await select(own)
        note('person', await usedByHand(service), own)
      }
      const { checkpointLoads, generations } = service.simulator.state()
      t.strictSame(wrong, [], mode)
      t.equal(generations.length, 4 * rounds)
      t.ok(checkpointLoads <= 4 * rounds, `${checkpointLoads} loads`)
    }

    await play('when idle', 20)
    await play('always', 10)
    await play('never', 10)
  })

  t.test(`jobs with the selected checkpoint of ${flavor} load nothing and read nothing`, async t => {
    const service = await start(t, 'when idle', { flavor })
    await service.simulator.changeOptions({ sd_model_checkpoint: 'x.safetensors' })
    await usedBy(service)
    await usedBy(service, 'y')
    await usedBy(service, 'x')
    service.simulator.reset()
    for (let round = 0; round < 10; round++) t.equal(await usedBy(service, 'x'), 'x')
    const { checkpointLoads, requests } = service.simulator.state()
    t.equal(checkpointLoads, 0)
    t.notOk(requests[`POST ${options}`])
    t.ok((requests[`GET ${options}`] ?? 0) < 10, 'only the regular looks')
  })

  t.test(`a checkpoint that ${flavor} does not restore by itself is selected again after the last job`, async t => {
    const service = await start(t, 'when idle', { flavor })
    await service.simulator.changeOptions({ sd_model_checkpoint: 'mine.safetensors' })
    service.simulator.setRestores('none')
    t.equal(await usedBy(service, 'x'), 'x')
    t.equal(await usedBy(service), 'mine', 'nobody takes it for a choice')
    t.equal(await usedBy(service, 'x'), 'x')
    while (selected(service) !== 'mine') await new Promise(resolve => { setTimeout(resolve, 20) })
    t.equal(await usedByHand(service), 'mine')
  })
}

t.test('jobs that name nothing follow each other without a request in between', async t => {
  const service = await start(t, 'when idle', {})
  await service.simulator.changeOptions({ sd_model_checkpoint: 'mine.safetensors' })
  t.equal(await usedBy(service), 'mine')
  const { states, registry } = service.services
  const isKnown = async () => {
    const { id, address: { baseUrl } } = registry.require('Main')
    return (await states.learned.read({ id, baseUrl, kind: 'a1111' })).tasksKnown
  }
  while (!await isKnown()) await new Promise(resolve => { setTimeout(resolve, 5) })
  t.equal(await usedBy(service), 'mine')
  service.simulator.reset()
  for (const name of ['x', 'y', 'x', 'y', 'x', 'y', 'x', 'y', 'x', 'y']) {
    await service.simulator.changeOptions({ sd_model_checkpoint: `${name}.safetensors` })
    t.equal(await usedBy(service), name, 'what people selected last')
  }
  const { requests } = service.simulator.state()
  t.ok((requests[`GET ${options}`] ?? 0) < 10, 'only the regular looks')
  t.ok((requests['GET /sdapi/v1/progress'] ?? 0) < 10)
})

t.test('never leaves the checkpoint of the last job selected, and never takes it for a person\'s choice', async t => {
  const service = await start(t, 'never', {})
  await service.simulator.changeOptions({ sd_model_checkpoint: 'mine.safetensors' })
  t.equal(await usedBy(service), 'mine')
  t.equal(await usedBy(service, 'x'), 'x')
  t.equal(selected(service), 'x')
  t.equal(await usedByHand(service), 'x')
  t.equal(await usedBy(service), 'mine')
  await service.simulator.changeOptions({ sd_model_checkpoint: 'other.safetensors' })
  t.equal(await usedBy(service), 'other')
})

t.test('always selects it again before the next job, if the server does not', async t => {
  const service = await start(t, 'always', {})
  await service.simulator.changeOptions({ sd_model_checkpoint: 'mine.safetensors' })
  service.simulator.setRestores('none')
  for (const name of ['x', 'y', 'x']) {
    t.equal(await usedBy(service, name), name)
  }
  while (selected(service) !== 'mine') await new Promise(resolve => { setTimeout(resolve, 5) })
  t.equal(await usedByHand(service), 'mine')
  t.equal(service.simulator.state().requests[`POST ${options}`], 3)
})

t.test('a checkpoint that a person selects during a job is selected after it', async t => {
  const service = await start(t, 'when idle', { stepMilliseconds: 5 })
  const { simulator } = service
  await simulator.changeOptions({ sd_model_checkpoint: 'mine.safetensors' })
  await usedBy(service)
  simulator.setFaults([{ kind: 'hang' }])
  const id = await service.submit({ ...quick, steps: 4, checkpoint_name: 'x' })
  while (selected(service) !== 'x') await new Promise(resolve => { setTimeout(resolve, 5) })
  const changed = simulator.changeOptions({ sd_model_checkpoint: 'other.safetensors' })
  while ((await keptSelection(service)) !== 'other') await new Promise(resolve => { setTimeout(resolve, 20) })
  simulator.setFaults([])
  await service.until(id, 'completed')
  await changed
  while (selected(service) !== 'other') await new Promise(resolve => { setTimeout(resolve, 20) })
  t.equal(await usedBy(service), 'other')
})

async function keptSelection ({ services }: Service): Promise<string> {
  const kept = await services.states.options.read(services.registry.require('Main').id)
  return bare(kept?.selection)
}
