import t from 'tap'
import type { SimulatorOptions } from '../../src/simulator/simulator.ts'
import { quick, startService, type JobBody, type Service } from '../helper.ts'

const settings = {
  CLIP_stop_at_last_layers: 2, randn_source: 'CPU', tiling: true, face_restoration: true, token_merging_ratio: 0.5, s_churn: 0.1
}
const options = '/sdapi/v1/options'

async function start (t: Parameters<typeof startService>[0], simulator: SimulatorOptions): Promise<Service> {
  return await startService(t, { simulator: { speed: Infinity, checkpoints: ['one.safetensors', 'two.safetensors'], ...simulator } })
}

/** The outcome of a job, and the traces of its server's settings in its image. */
async function run (service: Service, parameters: object = {}): Promise<JobBody & { marks: object }> {
  const id = await service.submit({ ...quick, steps: 1, ...parameters })
  const job = await service.until(id, 'completed', 'failed')
  return { ...job, marks: service.simulator.state().generations.findLast(({ taskId }) => taskId === id)?.marks ?? {} }
}

const codesOf = ({ warnings }: JobBody) => (warnings as Array<{ code: string }>).map(({ code }) => code)
const personsMarks = async ({ simulator }: Service) => (await simulator.generateByHand({ steps: 1 })).marks
const requests = ({ simulator }: Service) => {
  const { requests } = simulator.state()
  return { reads: requests[`GET ${options}`] ?? 0, changes: requests[`POST ${options}`] ?? 0 }
}

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`a job on ${flavor} leaves no settings to others`, async t => {
    const service = await start(t, { flavor })
    const modules = flavor === 'forge' ? { forge_additional_modules: ['vae-ft-mse-840000-ema-pruned.safetensors'] } : {}
    const asking = { override_settings: { ...settings, ...modules } }
    const first = await run(service, asking)
    t.match(first, { status: 'completed', marks: { 'Clip skip': 2, RNG: 'CPU', Tiling: true, 'Sigma churn': 0.1 } })
    t.strictSame(codesOf(first), [])
    t.strictSame(await personsMarks(service), {})
    t.match(await run(service), { status: 'completed', marks: {}, warnings: [] })
    const before = requests(service).changes
    for (let round = 0; round < 3; round++) await run(service, asking)
    t.equal(requests(service).changes, before, 'a setting that the server restores is seen to once')
    t.strictSame(await personsMarks(service), {})

    await t.test('also after the server lost its config file and came back at once', async t => {
      await service.simulator.restart({ freshConfig: true })
      await run(service, asking)
      t.strictSame(await personsMarks(service), {})
      t.strictSame((await run(service)).marks, {})
    })

    await t.test('and changes by a person apply to jobs that do not name the setting', async t => {
      for (const value of [3, 2]) {
        await service.simulator.changeOptions({ CLIP_stop_at_last_layers: value })
        const plain = await run(service)
        t.strictSame(plain.marks, { 'Clip skip': value })
        t.strictSame(codesOf(plain), [])
        t.match((await run(service, { clip_skip: 4 })).marks, { 'Clip skip': 4 })
        t.strictSame((await run(service)).marks, { 'Clip skip': value })
        t.strictSame(await personsMarks(service), { 'Clip skip': value })
      }
    })
  })

  t.test(`${flavor} that accepts no change of its settings still gives each job its own`, async t => {
    const service = await start(t, { flavor })
    service.simulator.setFaults([{ kind: 'missing-route', path: options, method: 'POST', status: 403, sticky: true }])
    const job = await run(service, { clip_skip: 2 })
    t.strictSame(job.marks, { 'Clip skip': 2 })
    t.match(job.warnings, [{ code: 'setting_stays', field: 'override_settings.CLIP_stop_at_last_layers' }])
    const other = await run(service, { checkpoint_name: 'two' })
    t.strictSame([other.marks, codesOf(other)], [{}, []], 'what it was before goes with the next job')
    t.strictSame((await run(service)).marks, {})
    t.strictSame(await personsMarks(service), {}, 'and stays, where that job names nothing else')
    t.strictSame(codesOf(await run(service, { clip_skip: 2 })), [], 'from now on it is restored')
    t.strictSame(await personsMarks(service), {})
  })

  t.test(`settings that ${flavor} does not restore are reported, and do not reach the next jobs`, async t => {
    const service = await start(t, { flavor })
    service.simulator.setRestores('none')
    await run(service, { clip_skip: 2, checkpoint_name: 'two' })
    const next = await run(service, { checkpoint_name: 'two' })
    service.simulator.setRestores('saved')
    const third = await run(service, { checkpoint_name: 'two' })
    t.strictSame(third.marks, {})
    const isReported = codesOf(next).includes('unasked_setting') || !('Clip skip' in next.marks)
    t.ok(isReported, 'the job in between got it with a warning, or did not get it')
    t.match((await run(service)).marks, {})
  })

  t.test(`settings that ${flavor} saved during a job before it died are put back`, async t => {
    const service = await start(t, { flavor, stepMilliseconds: 1 })
    const { simulator } = service
    await simulator.changeOptions({ sd_model_checkpoint: 'two.safetensors' })
    await run(service)
    simulator.setFaults([{ kind: 'hang' }])
    const id = await service.submit({ ...quick, steps: 4, clip_skip: 2, checkpoint_name: 'one' })
    const isOverridden = () => simulator.options().all.CLIP_stop_at_last_layers === 2
    while (!isOverridden()) await new Promise(resolve => { setTimeout(resolve, 5) })
    await simulator.changeOptions({ samples_format: 'png' })
    await simulator.restart({ refuseMilliseconds: 100 })
    await service.until(id, 'completed')
    const plain = await run(service)
    t.strictSame(plain.marks, {})
    t.match(await simulator.generateByHand({ steps: 1 }), { marks: {}, checkpoint: 'two.safetensors' })
  })
}
