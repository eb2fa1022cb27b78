import t from 'tap'
import type { JobSubmission } from '../../src/jobs/job.ts'
import { workloadOf } from '../../src/jobs/workload.ts'
import {
  type CostModel, learnFrom, loadedAfter, newCostModel, predictSeconds, type Workload
} from '../../src/servers/cost-model.ts'
import { createRandom } from '../../src/simulator/random.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { listenTo } from '../events/listener.ts'
import { fast, quick, startService } from '../helper.ts'

/** A server with known true costs and noise; some of its checkpoints cost more than others. */
interface World {
  readonly factors: Readonly<Record<string, number>>
  readonly slowness: (generation: number) => number
  readonly interference: number
}
const ordinary: World = { factors: { a: 1, b: 1, c: 1 }, slowness: () => 1, interference: 0 }

/** Errors of predictions, relative to the real durations, in the order of the generations. */
function errorsIn (world: World, generations: number, seed: number): number[] {
  const random = createRandom(seed)
  const names = Object.keys(world.factors)
  const pick = <Value>(values: readonly Value[]) => values[Math.floor(random() * values.length)] as Value
  const errors: number[] = []
  let model: CostModel = newCostModel()
  let loaded = 'a'
  for (let count = 0; count < generations; count++) {
    const checkpoint = random() < 0.6 ? loaded : pick(names)
    const steps = 10 + Math.floor(random() * 40)
    const megapixels = pick([512, 640, 768, 1024]) * pick([512, 640, 768, 1024]) / 1e6
    const workload: Workload = { evaluations: steps, megapixels: steps * megapixels, checkpoint }
    const drawing = steps * (0.02 + 0.4 * megapixels) * (world.factors[checkpoint] ?? 1)
    const chance = (0.9 + random() * 0.2) * (random() < world.interference ? 5 : 1)
    const seconds = (0.4 + drawing + (checkpoint === loaded ? 0 : 2.5)) * world.slowness(count) * chance
    const predicted = predictSeconds(model, workload, loaded)
    errors.push(predicted === null ? 1 : Math.abs(predicted - seconds) / seconds)
    model = learnFrom(model, [{ workload, seconds }])
    loaded = loadedAfter(loaded, workload)
  }
  return errors
}

function median (values: readonly number[]): number {
  return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? NaN
}
const seeds = Array.from({ length: 10 }, (_, index) => index + 1)
const medianOver = (world: World, from: number, to: number) =>
  median(seeds.flatMap(seed => errorsIn(world, to, seed).slice(from)))

t.test('the costs of a server are learned from few generations of any kind', async t => {
  t.equal(predictSeconds(newCostModel(), { evaluations: 20, megapixels: 5, checkpoint: '' }, ''), null)
  const known = [2, 9, 3].reduce((model, seconds) =>
    learnFrom(model, [{ workload: { evaluations: 20, megapixels: 5, checkpoint: '' }, seconds }]), newCostModel())
  t.equal(predictSeconds(known, null, ''), 3, 'a job of which nothing is known is taken for an ordinary one')
  // The noise alone is ±10 %, so that no prediction could be better than 5 %.
  t.ok(medianOver(ordinary, 10, 30) < 0.09, 'after ten')
  t.ok(medianOver(ordinary, 50, 100) < 0.07, 'after fifty')
  t.ok(medianOver({ ...ordinary, factors: { a: 1, b: 2.5, c: 0.6 } }, 30, 100) < 0.09, 'with dearer checkpoints')
  t.ok(medianOver({ ...ordinary, interference: 0.05 }, 30, 100) < 0.1, 'with somebody else at the server now and then')
  const slower = { ...ordinary, slowness: (count: number) => count < 60 ? 1 : 3 }
  t.ok(medianOver(slower, 60, 63) > 0.5, 'a server that becomes slower surprises')
  t.ok(medianOver(slower, 75, 120) < 0.09, 'but not for long')
  const cold = { ...ordinary, slowness: (count: number) => count < 4 ? 5 : 1 }
  t.ok(medianOver(cold, 8, 20) < 0.4, 'nor do the first, slow generations count for long')
})

t.test('the work that a submission causes at a server', async t => {
  const of = (parameters: Readonly<Record<string, unknown>>, mode: JobSubmission['mode'] = 'txt2img') => workloadOf({
    mode, parameters, checkpoint: null, checkpointTitle: null
  } as unknown as JobSubmission)
  const plain = { steps: 20, width: 1000, height: 500 }
  t.strictSame(of(plain), { evaluations: 20, megapixels: 10, checkpoint: '' })
  t.match(of({ ...plain, batch_size: 2, n_iter: 3 }), { evaluations: 60, megapixels: 60 })
  t.match(of({ ...plain, sampler_name: 'Heun' }), { evaluations: 40, megapixels: 20 })
  t.match(of({ ...plain, enable_hr: true, hr_scale: 2, denoising_strength: 0.5 }), { evaluations: 30, megapixels: 30 })
  t.match(of({ ...plain, denoising_strength: 0.5 }, 'img2img'), { evaluations: 10, megapixels: 5 })
  t.match(of({}), { evaluations: 50 })
  const titled = (checkpointTitle: string) => workloadOf({
    mode: 'txt2img', parameters: plain, checkpoint: null, checkpointTitle
  } as unknown as JobSubmission).checkpoint
  t.equal(titled('sdxl/one.safetensors [0123456789]'), titled('sdxl/one.safetensors'),
    'a checkpoint stays the same when its server shows its hash, which it does only once it was loaded')
  t.not(titled('sdxl/one.safetensors'), titled('sdxl/two.safetensors'))
})

t.test('jobs have their position and expected end once their server is known', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20 } })
  const job = { ...quick, steps: 10 }
  const first = await service.submit(job)
  t.match(await service.job(first), { eta_seconds: null })
  await service.until(first, 'completed')

  const listener = await listenTo(`${service.url}/api/v1/events?kinds=place,queue`)
  t.teardown(listener.close)
  await listener.untilKind('ready')
  // Long enough to read the queue, however busy the machine is.
  service.simulator.setFaults([{ kind: 'slow', factor: 50 }])
  const ids = await Promise.all([1, 2, 3].map(async () => await service.submit(job)))
  const jobs = await Promise.all(ids.map(service.job))
  const active = jobs.filter(({ status }) => status === 'pending')
  for (const { eta_seconds: eta, queue_position: position, estimated_completion_time: end } of active) {
    t.ok(Number(eta) > 0.1 && Number(eta) < 60, `${String(eta)} s at ${String(position)}`)
    t.ok(Date.parse(String(end)) > Date.now() - 60_000)
  }
  const { body } = await service.request('GET', '/api/v2/jobs?status=pending&order=asc')
  const etas = (body.jobs as Array<{ eta_seconds: number }>).map(({ eta_seconds: eta }) => eta)
  t.strictSame(etas, etas.toSorted((one, other) => one - other), 'who stands further back ends later')
  const moved = await listener.until(({ kind, job_id: id }) => kind === 'place' && id === ids[2])
  t.ok(Number(moved.data.position) >= 1)
  t.type(moved.data.eta_seconds, 'number')
  service.simulator.setFaults([])
  for (const id of ids.toReversed()) await service.request('POST', `/api/v1/jobs/${id}/cancel`)
  const queue = await listener.until(({ kind, data }) => kind === 'queue' && data.waiting === 0)
  t.equal(queue.server, 'Main')

  await Promise.all(ids.map(async id => await service.until(id, 'completed', 'cancelled')))
  const { body: metrics } = await service.request('GET', '/metrics')
  t.match(metrics.text, /^stablequeue_waiting_seconds\{server="Main"\} 0$/m)
  await service.request('POST', '/api/v1/servers/Main/pause')
  const held = await service.submit(job)
  t.match(await service.job(held), { queue_position: 1, eta_seconds: null, estimated_start_time: null },
    'a line that is held has no times')
})

t.test('a job counts the jobs ahead of it at its server, and not those of others', async t => {
  const [main, other] = [await startSimulator(fast), await startSimulator(fast)]
  for (const simulator of [main, other]) {
    t.teardown(simulator.close)
    simulator.setFaults([{ kind: 'hang', sticky: true }])
  }
  const { submit, until, job, request } = await startService(t, { servers: { Main: main.url, Other: other.url } })
  const submitTo = async (alias: string, more: object = {}) =>
    await submit(quick, { target_server_alias: alias, ...more })
  for (const alias of ['Main', 'Other']) await until(await submitTo(alias), 'processing')
  for (let count = 0; count < 2; count++) for (const alias of ['Main', 'Other']) await submitTo(alias)
  const last = await submitTo('Main')
  t.match(await job(last), { queue_position: 5, waiting_for: '2 jobs ahead of it' })
  const yielding = await submitTo('Other', { background: true })
  t.match(await job(yielding), { queue_position: 6, waiting_for: 'background: yields to 2 other jobs' })
  t.match((await request('POST', '/api/v2/generate', {
    target_server_alias: 'Other', dry_run: true, generation_params: quick
  })).body, { waiting_for: '2 jobs ahead of it' })
})

t.test('a claimed job says where it is next, as the job before it can take longer than expected', async t => {
  const service = await startService(t, { simulator: { stepMilliseconds: 20 } })
  const job = { ...quick, steps: 10 }
  await service.until(await service.submit(job), 'completed')
  service.simulator.setFaults([{ kind: 'slow', factor: 100 }])
  await service.until(await service.submit(job), 'processing')
  const next = await service.submit(job)
  let said = ''
  while (!said.includes('Main')) said = String((await service.job(next)).waiting_for)
  t.equal(said, 'Main, where it is next')
})
