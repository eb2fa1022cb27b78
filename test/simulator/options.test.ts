import t from 'tap'
import { infoOf, startBench, type Bench } from './client.ts'

const overrides = {
  CLIP_stop_at_last_layers: 2,
  sd_vae: 'tiny-vae.safetensors',
  randn_source: 'CPU',
  tiling: true,
  face_restoration: true,
  token_merging_ratio: 0.5,
  s_churn: 0.1
}
const marks = {
  'Clip skip': 2,
  VAE: 'tiny-vae.safetensors',
  RNG: 'CPU',
  Tiling: true,
  'Face restoration': 'CodeFormer',
  'Token merging ratio': 0.5,
  'Sigma churn': 0.1
}

const textOf = async (bench: Bench, body = {}): Promise<string> =>
  String((infoOf(await bench.txt2img(body)).infotexts as string[])[0])
const marksOf = async (bench: Bench) => (await bench.simulator.generateByHand({ steps: 1 })).marks

for (const flavor of ['a1111', 'forge'] as const) {
  t.test(`${flavor} leaks options that its fresh config file lacks, and looks as if it had all of them`, async t => {
    const bench = await startBench(t, { flavor, speed: Infinity })
    const shown = (await bench.get('/sdapi/v1/options')).json
    t.match(shown, { CLIP_stop_at_last_layers: 1, sd_vae: 'Automatic', randn_source: 'GPU' })
    t.strictSame(await marksOf(bench), {})
    const text = await textOf(bench, { override_settings: overrides })
    for (const [label, value] of Object.entries(marks)) t.match(text, `${label}: ${value === true ? 'True' : value}`)
    t.strictSame(await marksOf(bench), marks, 'a person gets them all')
    t.strictSame(bench.simulator.options().saved, [], 'nothing was saved')
    await bench.simulator.restart({})
    t.strictSame(await marksOf(bench), {}, 'a restart forgets them')
  })

  t.test(`${flavor} restores what was set once, also to its present value, and keeps it over a restart`, async t => {
    const bench = await startBench(t, { flavor, speed: Infinity })
    const shown = (await bench.get('/sdapi/v1/options')).json
    await bench.post('/sdapi/v1/options', Object.fromEntries(Object.keys(overrides).map(key => [key, shown[key]])))
    await bench.txt2img({ override_settings: overrides })
    t.strictSame(await marksOf(bench), {})
    await bench.simulator.restart({})
    await bench.txt2img({ override_settings: overrides })
    t.strictSame(await marksOf(bench), {})
    await bench.simulator.restart({ freshConfig: true })
    await bench.txt2img({ override_settings: overrides })
    t.strictSame(await marksOf(bench), marks, 'without its config file it begins again')
  })

  t.test(`${flavor} saves the overrides of a running job if a person changes an option then`, async t => {
    const bench = await startBench(t, { flavor, stepMilliseconds: 5 })
    bench.simulator.setFaults([{ kind: 'hang' }])
    const job = bench.txt2img({ steps: 4, override_settings: { CLIP_stop_at_last_layers: 2 } }).catch(() => null)
    const isOverridden = () => bench.simulator.options().all.CLIP_stop_at_last_layers === 2
    while (!isOverridden()) await new Promise(resolve => { setTimeout(resolve, 1) })
    await bench.simulator.changeOptions({ samples_format: 'jpg' })
    await bench.simulator.crash(0)
    await job
    t.strictSame(await marksOf(bench), { 'Clip skip': 2 }, 'the restart finds them')
  })

  t.test(`${flavor} selects and loads as its own`, async t => {
    const bench = await startBench(t, { flavor, speed: Infinity, checkpoints: ['a.safetensors', 'b.safetensors'] })
    const used = async () => (await bench.simulator.generateByHand()).checkpoint
    await bench.simulator.changeOptions({ sd_model_checkpoint: 'b.safetensors' })
    t.equal(bench.simulator.state().checkpointLoads, flavor === 'forge' ? 0 : 1, 'Forge waits for the next generation')
    t.equal(await used(), 'b.safetensors')
    await bench.txt2img({ override_settings: { sd_model_checkpoint: 'a.safetensors' } })
    t.equal(bench.simulator.state().checkpointLoads, 2)
    t.equal(await used(), 'b.safetensors')
    await bench.post('/sdapi/v1/options', { sd_model_checkpoint: null })
    t.equal(await used(), 'a.safetensors', 'no selection is the first one')
  })
}

t.test('Forge selects nothing by itself, and an override stays selected then', async t => {
  const bench = await startBench(t, { flavor: 'forge', speed: Infinity, checkpoints: ['a.safetensors', 'b.safetensors'] })
  t.equal((await bench.get('/sdapi/v1/options')).json.sd_model_checkpoint, null)
  await bench.txt2img({ override_settings: { sd_model_checkpoint: 'b.safetensors' } })
  t.equal((await bench.get('/sdapi/v1/options')).json.sd_model_checkpoint, 'b.safetensors')
})

t.test('Forge ignores an empty list of modules if it already shows none', async t => {
  const bench = await startBench(t, { flavor: 'forge', speed: Infinity })
  const ask = { override_settings: { forge_additional_modules: ['vae.safetensors'] } }
  await bench.post('/sdapi/v1/options', { forge_additional_modules: [] })
  await bench.txt2img(ask)
  t.strictSame(await marksOf(bench), { 'Module 1': 'vae' })
  await bench.post('/sdapi/v1/options', { forge_additional_modules: [] })
  await bench.txt2img(ask)
  t.strictSame(await marksOf(bench), {})
})
