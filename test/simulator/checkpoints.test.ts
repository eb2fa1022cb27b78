import t from 'tap'
import { imagesOf, infoOf, startBench, type Bench, type Json } from './client.ts'

const files = ['tiny-a.safetensors', 'tiny-b.safetensors', 'sub/tiny-c.safetensors']

async function titles (bench: Bench): Promise<string[]> {
  const { text } = await bench.get('/sdapi/v1/sd-models')
  return (JSON.parse(text) as Json[]).map(one => String(one.title))
}

async function option (bench: Bench, key: string): Promise<unknown> {
  return (await bench.get('/sdapi/v1/options')).json[key]
}

t.test('a file gets its hash at its first loading, which changes its title', async t => {
  const bench = await startBench(t, { checkpoints: files })
  const [first, ...others] = await titles(bench)
  t.match(first, /^tiny-a\.safetensors \[[0-9a-f]{10}\]$/)
  t.same(others, files.slice(1))
  t.match(JSON.parse((await bench.get('/sdapi/v1/sd-models')).text)[2],
    { model_name: 'sub_tiny-c', hash: null, sha256: null, filename: /sub\/tiny-c\.safetensors$/ })
  await bench.txt2img({ override_settings: { sd_model_checkpoint: 'sub/tiny-c.safetensors' } })
  t.match((await titles(bench))[2], /^sub\/tiny-c\.safetensors \[[0-9a-f]{10}\]$/)
  await bench.simulator.crash(0)
  t.match((await titles(bench))[2], /\[/, 'hashes are on disk and survive a restart')
})

t.test('new files appear after a refresh', async t => {
  const bench = await startBench(t, { checkpoints: files })
  bench.simulator.setCheckpoints([...files, 'new.safetensors'])
  t.equal((await titles(bench)).length, 3)
  t.equal((await bench.post('/sdapi/v1/refresh-checkpoints')).text, 'null')
  t.equal((await titles(bench))[3], 'new.safetensors')
  t.match((await titles(bench))[0], /\[/, 'what was hashed stays so')
})

t.test('every exact alias selects a checkpoint, any other name is dropped silently', async t => {
  const bench = await startBench(t, { checkpoints: files })
  const used = async (name: string): Promise<unknown> => {
    const reply = await bench.txt2img({ override_settings: { sd_model_checkpoint: name } })
    t.match(reply.json.parameters, { override_settings: { sd_model_checkpoint: name } })
    return infoOf(reply).sd_model_name
  }
  for (const name of ['sub/tiny-c.safetensors', 'tiny-c', 'sub_tiny-c']) t.equal(await used(name), 'tiny-c', name)
  const sha256 = String(await option(bench, 'sd_checkpoint_hash'))
  for (const name of [sha256, sha256.slice(0, 10), `tiny-c [${sha256.slice(0, 10)}]`]) t.equal(await used(name), 'tiny-c', name)
  for (const name of ['nope', 'tiny', 'Tiny-b', 'sub\\tiny-c.safetensors']) t.equal(await used(name), 'tiny-a', name)
})

t.test('an override restores the selection but not the loaded checkpoint', async t => {
  const bench = await startBench(t, { checkpoints: files })
  const selected = await option(bench, 'sd_model_checkpoint')
  const loaded = await option(bench, 'sd_checkpoint_hash')
  await bench.txt2img({ override_settings: { sd_model_checkpoint: 'tiny-b' } })
  t.equal(await option(bench, 'sd_model_checkpoint'), selected)
  t.not(await option(bench, 'sd_checkpoint_hash'), loaded)
  await bench.txt2img()
  t.equal(bench.simulator.state().checkpointLoads, 2, 'the next job without an override loads the old one again')
  await bench.txt2img({ override_settings: { sd_model_checkpoint: 'tiny-b' }, override_settings_restore_afterwards: false })
  t.match(await option(bench, 'sd_model_checkpoint'), /^tiny-b/)
})

t.test('options accept the whole object back, reject unknown ones, and leak those that were never saved', async t => {
  const bench = await startBench(t, { checkpoints: files })
  const all = (await bench.get('/sdapi/v1/options')).json
  t.ok(Object.keys(all).length > 300)
  t.match(all, { samples_format: 'png', show_progress_every_n_steps: 10, CLIP_stop_at_last_layers: 1, sd_vae: 'Automatic' })
  t.equal((await bench.post('/sdapi/v1/options', { ...all, sd_model_checkpoint: 'tiny-b' })).text, 'null')
  t.match(await option(bench, 'sd_model_checkpoint'), /^tiny-b\.safetensors \[/, 'the title replaces the alias')
  t.match(await bench.post('/sdapi/v1/options', { nope: 1 }),
    { status: 500, json: { error: 'KeyError', detail: '', body: '', errors: "'nope'" } })
  t.match(await bench.post('/sdapi/v1/options', { sd_model_checkpoint: 'nope' }),
    { status: 500, json: { error: 'RuntimeError', errors: "model 'nope' not found" } })

  const other = await startBench(t, { checkpoints: files })
  await other.txt2img({ override_settings: { CLIP_stop_at_last_layers: 2 } })
  t.equal(await option(other, 'CLIP_stop_at_last_layers'), 2, 'a key that was never saved is not put back')
  await other.post('/sdapi/v1/options', { CLIP_stop_at_last_layers: 1 })
  t.match((infoOf(await other.txt2img({ override_settings: { CLIP_stop_at_last_layers: 3 } })).infotexts as string[])[0], 'Clip skip: 3')
  t.equal(await option(other, 'CLIP_stop_at_last_layers'), 1, 'one that was, is')
})

t.test('a change through options waits for the lock, and affects the rest of a running job', async t => {
  const bench = await startBench(t, { checkpoints: files })
  const clean = await bench.txt2img({ n_iter: 2 })
  bench.simulator.setFaults([{ kind: 'hang', afterSteps: 3 }])
  const running = bench.txt2img({ n_iter: 2 })
  await bench.untilProgress((_progress, state) => state.sampling_step === 2)
  let isSwitched = false
  const switching = bench.post('/sdapi/v1/options', { sd_model_checkpoint: 'tiny-b' }).then(() => { isSwitched = true })
  await bench.get('/sdapi/v1/options')
  t.match(await option(bench, 'sd_model_checkpoint'), 'tiny-b', 'the selection changes at once')
  t.equal(isSwitched, false)
  bench.simulator.setFaults([])
  const spoilt = await running
  await switching
  const [first, second] = imagesOf(clean)
  const [same, different] = imagesOf(spoilt)
  t.ok(first?.equals(same as Buffer))
  t.notOk(second?.equals(different as Buffer))
  t.equal(infoOf(spoilt).sd_model_name, 'tiny-a', 'while info still names the old checkpoint')
})

t.test('lists have the items and keys of A1111', async t => {
  const bench = await startBench(t)
  const list = async (name: string): Promise<Json[]> => JSON.parse((await bench.get(`/sdapi/v1/${name}`)).text) as Json[]
  const keys = async (name: string): Promise<string[]> => Object.keys((await list(name))[0] ?? {})
  t.equal((await list('samplers')).length, 20)
  t.same((await list('samplers'))[5], {
    name: 'DPM++ 3M SDE',
    aliases: ['k_dpmpp_3m_sde'],
    options: { scheduler: 'exponential', discard_next_to_last_sigma: 'True', brownian_noise: 'True' }
  })
  t.same((await list('schedulers')).map(one => one.name), [
    'automatic', 'uniform', 'karras', 'exponential', 'polyexponential', 'sgm_uniform', 'kl_optimal', 'align_your_steps',
    'simple', 'normal', 'ddim', 'beta'
  ])
  t.same(await keys('schedulers'), ['name', 'label', 'aliases', 'default_rho', 'need_inner_model'])
  t.same(await keys('upscalers'), ['name', 'model_name', 'model_path', 'model_url', 'scale'])
  const upscalers = (await list('upscalers')).map(one => one.name)
  t.equal(upscalers.filter(name => name !== '4x-UltraSharp').length, 13, 'those of a fresh A1111, besides one that is often added')
  t.equal(upscalers.length, 14)
  t.equal((await list('latent-upscale-modes')).length, 6)
  t.same(await keys('sd-models'), ['title', 'model_name', 'hash', 'sha256', 'filename', 'config'])
  t.same(await keys('sd-vae'), ['model_name', 'filename'])
  t.same(await keys('loras'), ['name', 'alias', 'path', 'metadata'])
  t.same(await keys('prompt-styles'), ['name', 'prompt', 'negative_prompt'])
  t.same((await list('face-restorers')).map(one => one.name), ['CodeFormer', 'GFPGAN'])
  t.equal((await list('realesrgan-models')).length, 6)
  t.same(Object.keys((await bench.get('/sdapi/v1/embeddings')).json), ['loaded', 'skipped'])
  t.match((await bench.get('/sdapi/v1/scripts')).json, { txt2img: ['prompt matrix'], img2img: ['img2img alternative test'] })
  t.match((await list('script-info'))[0], { is_alwayson: false, args: [{ label: String, value: false, choices: null }] })
  t.ok(Object.keys((await bench.get('/sdapi/v1/cmd-flags')).json).length >= 126)
  t.same(Object.keys((await bench.get('/sdapi/v1/memory')).json), ['ram', 'cuda'])
  for (const name of ['refresh-checkpoints', 'refresh-vae', 'refresh-embeddings', 'refresh-loras']) {
    t.equal((await bench.post(`/sdapi/v1/${name}`)).text, 'null', name)
  }
  t.same((await bench.post('/sdapi/v1/unload-checkpoint')).json, {})
  t.equal((await bench.txt2img()).status, 200, 'loads again by itself')
})
