import t from 'tap'
import { sdnext } from '../../src/a1111/kinds/sdnext.ts'
import { flavors } from '../../src/simulator/flavors.ts'
import { startSimulator, type Simulator } from '../../src/simulator/simulator.ts'
import { quick, startService } from '../helper.ts'

const simulators = new Map<string, Simulator>()
for (const flavor of flavors) {
  const simulator = await startSimulator({ flavor, stepMilliseconds: 2, loadMilliseconds: 0, checkpoints: ['one.safetensors', 'two.safetensors'] })
  t.teardown(simulator.close)
  simulators.set(flavor, simulator)
}
const service = await startService(t, {
  servers: Object.fromEntries([...simulators].map(([flavor, { url }]) => [flavor, url]))
})
const at = (flavor: string) => simulators.get(flavor) as Simulator
const run = async (alias: string, parameters: object, more: object = {}) =>
  await service.until(await service.submit({ ...quick, ...parameters }, { target_server_alias: alias, ...more }), 'completed', 'failed')
const toSdnext = { 'x-stablequeue-server': 'sdnext' }
const last = (flavor: string) => at(flavor).state().generations.at(-1)

t.test('each kind is recognized, and its lists are read', async t => {
  for (const server of service.services.registry.list()) {
    const [state, inventory] = await Promise.all([
      service.services.states.read(server.id), service.services.states.inventory(server.id)
    ])
    t.match(state?.traits, { kind: 'simulator', simulates: server.alias }, server.alias)
    t.ok((inventory?.samplers.length ?? 0) > 5, `${server.alias} has samplers`)
    t.ok((inventory?.checkpoints.length ?? 0) > 0, `${server.alias} has checkpoints`)
  }
})

t.test('each kind generates with the requested checkpoint', async t => {
  for (const flavor of flavors) {
    const named = flavor === 'sdcpp' ? {} : { checkpoint_name: 'two' }
    const job = await run(flavor, { ...named, seed: 7, batch_size: 2 })
    t.match(job, { status: 'completed', warnings: [], images: [{ seed: 7 }, { seed: 8 }] }, flavor)
  }
})

t.test('each kind reports its missing abilities, and the drop-in answers 404 to its missing routes', async t => {
  for (const flavor of flavors) {
    const refused = await service.request('POST', '/api/v2/generate', {
      target_server_alias: flavor, generation_params: { ...quick, sampler_name: 'No Such Sampler' }
    })
    t.match(refused, { status: 422, body: { error: 'sampler_not_found' } }, flavor)
  }
  for (const flavor of ['forge-classic', 'forge-neo', 'sdnext']) {
    const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
    const answer = await service.request('POST', '/sdapi/v1/interrogate', { image: png, model: 'clip' }, { 'x-stablequeue-server': flavor })
    t.ok(answer.status === 404 || answer.status === 422, `${flavor}: ${answer.status}`)
  }
})

t.test('SD.Next generates with its own defaults if the job names none', async t => {
  const job = await run('sdnext', { width: undefined, height: undefined })
  t.match(job, { status: 'completed', generation_params: { cfg_scale: 6 } })
  t.notOk('sampler_name' in (job.generation_params as object), 'the sampler is the model\'s')
  t.match(job.images, [{ width: 1024, height: 1024 }])
  t.match(await run('sdnext', { cfg_scale: 7, sampler_name: 'Euler a' }),
    { status: 'completed', generation_params: { cfg_scale: 7, sampler_name: 'Euler a' } })
  const dropIn = await service.request(
    'POST', '/sdapi/v1/txt2img', { prompt: 'a lighthouse', width: 64, height: 64 }, toSdnext)
  t.equal(dropIn.status, 200)
  t.match(last('sdnext'), { outcome: 'done' })
})

t.test('the sampler\'s name contains the schedule on servers without schedulers', async t => {
  t.match(await run('forge-classic', { sampler_name: 'DPM++ 2M', scheduler: 'Karras' }),
    { status: 'completed', warnings: [], generation_params: { sampler_name: 'DPM++ 2M Karras' } })
  t.match(await run('sdnext', { sampler_name: 'DPM++ 2M', scheduler: 'Karras' }),
    { status: 'completed', warnings: [{ code: 'scheduler_ignored', field: 'scheduler' }] })
})

t.test('the second pass of reForge has the CFG of the first', async t => {
  t.match(await run('reforge', { enable_hr: true, hr_scale: 2, denoising_strength: 0.5 }), { status: 'completed', warnings: [] })
})

t.test('embeddings that a server lists by name alone are known too', async t => {
  const server = service.services.registry.require('sdnext')
  t.ok(((await service.services.states.inventory(server.id))?.embeddings.length ?? 0) > 0)
  const { body } = await service.request('GET', '/sdapi/v1/embeddings', undefined, toSdnext)
  t.equal(Object.values(body.loaded as object).every(one => typeof one === 'object'), true)
})

t.test('empty answers of SD.Next to a refresh count as success', async t => {
  for (const route of ['refresh-checkpoints', 'refresh-vae']) {
    t.equal((await service.request('POST', `/sdapi/v1/${route}`, undefined, toSdnext)).status, 200, route)
  }
})

/** The progress of a server that does not distinguish tasks. */
const idle = {
  busy: false,
  mark: null,
  task: 'unknown',
  fraction: 0,
  step: null,
  steps: null,
  etaSeconds: null,
  whole: { fraction: 0, step: null, steps: null, etaSeconds: null }
} as const

t.test('a request that failed at SD.Next, and so never ends in its history, is over once the server stays idle', async t => {
  const history = [{ id: 'failed', job: 'api-txt', op: 'begin' }]
  const read = sdnext.createMarkReader?.({ readJson: async path => path.includes('id=') ? history.slice(0, 1) : history })
  const seen = (busy: boolean) => ({ ...idle, busy, mark: busy ? '1' : null })
  t.same(await read?.(seen(true)), { busy: true, mark: 'failed' })
  t.same(await read?.(seen(false)), { busy: true, mark: 'failed' }, 'stages have pauses between them')
  await read?.(seen(false))
  t.same(await read?.(seen(false)), { busy: false, mark: null })
  history.push({ id: 'next', job: 'api-txt', op: 'begin' })
  t.same(await read?.({ ...seen(true), mark: '2' }), { busy: true, mark: 'next' })
})

t.test('a request at SD.Next is recognized although another began within the same second', async t => {
  const history: Array<{ id: string, job: string, op: string }> = []
  const reader = () => sdnext.createMarkReader?.({
    readJson: async path => history.filter(({ id }) => !path.includes('?id=') || path.endsWith(`=${id}`))
  })
  const seen = (busy: boolean) => ({ ...idle, busy, mark: busy ? '20261129220431' : null })
  const afterPerson = reader()
  t.same(await afterPerson?.(seen(true)), { busy: true, mark: null }, 'a person\'s is no request of the API')
  t.same(await afterPerson?.(seen(false)), { busy: false, mark: null })
  history.push({ id: 'first', job: 'api-txt', op: 'begin' })
  t.same(await afterPerson?.(seen(true)), { busy: true, mark: 'first' })
  const afterRequest = reader()
  t.same(await afterRequest?.(seen(true)), { busy: true, mark: 'first' })
  history.push({ id: 'first', job: 'api-txt', op: 'end' }, { id: 'second', job: 'api-img', op: 'begin' })
  t.same(await afterRequest?.(seen(true)), { busy: true, mark: 'second' }, 'without a look in between')
})
