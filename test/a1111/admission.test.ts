import t from 'tap'
import { findCheckpoint, findSampler, findScheduler, nearest } from '../../src/a1111/names.ts'
import type { Checkpoint, Inventory } from '../../src/a1111/types.ts'
import { type CompatibilitySetting, checkedAt, inventoryOf } from './inventory.ts'

const sha = (start: string) => start.padEnd(64, '0')
const file = (name: string, hash: string | null = null): Checkpoint => ({
  title: hash === null ? name : `${name} [${hash}]`,
  modelName: name.replace(/\.\w+$/, '').replace(/[\\/]/g, '_'),
  hash,
  sha256: hash === null ? null : sha(hash),
  filename: `/srv/models/Stable-diffusion/${name}`
})

const inventory: Inventory = {
  checkpoints: [
    file('tiny-a.safetensors', '5ce6cf3d87'), file('sub/tiny-c.safetensors', '1022f77ec5'), file('Pony\\pony.safetensors', 'aabbccddee'),
    file('one/twin.safetensors', '1111111111'), file('two/twin.safetensors', '2222222222'), file('new.ckpt')
  ],
  samplers: [
    { name: 'DPM++ 2M', aliases: ['k_dpmpp_2m'] }, { name: 'DPM++ 2S a', aliases: ['k_dpmpp_2s_a'] }, { name: 'DPM2', aliases: [] }, { name: 'DPM2 a', aliases: [] },
    { name: 'Euler a', aliases: ['k_euler_a', 'k_euler_ancestral'] }, { name: 'Euler', aliases: ['k_euler'] }, { name: 'DDIM', aliases: ['ddim'] }
  ],
  schedulers: [
    { name: 'automatic', label: 'Automatic', aliases: [] }, { name: 'uniform', label: 'Uniform', aliases: [] }, { name: 'karras', label: 'Karras', aliases: [] },
    { name: 'sgm_uniform', label: 'SGM Uniform', aliases: ['SGMUniform'] }, { name: 'ddim', label: 'DDIM', aliases: [] }
  ],
  upscalers: ['None', 'Lanczos', 'R-ESRGAN 4x+', 'R-ESRGAN 4x+ Anime6B', '4x-UltraSharp'],
  latentUpscaleModes: ['Latent', 'Latent (nearest)'],
  vaes: ['vae-ft-mse-840000-ema-pruned.safetensors', 'ae.safetensors'],
  loras: [{ name: 'add_detail', alias: 'detail_tweaker', path: '/srv/lora/add_detail.safetensors' }, { name: 'pixel', alias: 'pixel', path: 'pixel.safetensors' }],
  embeddings: [],
  styles: ['Cinematic'],
  scripts: { txt2img: ['x/y/z plot', 'controlnet', 'adetailer'], img2img: ['loopback', 'controlnet'] },
  controlNetModels: ['control_v11p_sd15_canny [d14c016b]'],
  controlNetModules: ['none', 'canny', 'openpose_full'],
  missing: [],
  readAt: 0
}
const beforeSchedulers: Inventory = {
  ...inventory,
  samplers: [{ name: 'DPM++ 2M', aliases: [] }, { name: 'DPM++ 2M Karras', aliases: ['k_dpmpp_2m_ka'] }, { name: 'Euler a', aliases: [] }],
  schedulers: [],
  missing: ['schedulers']
}

function admitted (given: unknown, setting: Partial<CompatibilitySetting> = {}) {
  return checkedAt(given, { at: inventory, ...setting })
}

t.test('a checkpoint is found in every notation', async t => {
  const table: Array<[string, string | null]> = [
    ['tiny-a.safetensors [5ce6cf3d87]', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['tiny-a.safetensors', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['tiny-a', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['TINY-A.SAFETENSORS', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['tiny-a.safetensors [ffffffffff]', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['renamed [5CE6CF3D87]', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['5ce6cf3d87', 'tiny-a.safetensors [5ce6cf3d87]'],
    [sha('5ce6cf3d87'), 'tiny-a.safetensors [5ce6cf3d87]'],
    ['sub\\tiny-c.safetensors', 'sub/tiny-c.safetensors [1022f77ec5]'],
    ['sub//tiny-c', 'sub/tiny-c.safetensors [1022f77ec5]'],
    ['sub_tiny-c', 'sub/tiny-c.safetensors [1022f77ec5]'],
    ['tiny-c', 'sub/tiny-c.safetensors [1022f77ec5]'],
    ['C:\\models\\Stable-diffusion\\sub\\tiny-c.safetensors', 'sub/tiny-c.safetensors [1022f77ec5]'],
    ['/home/me/models/tiny-a.safetensors', 'tiny-a.safetensors [5ce6cf3d87]'],
    ['Pony/pony.safetensors', 'Pony\\pony.safetensors [aabbccddee]'],
    ['two/twin', 'two/twin.safetensors [2222222222]'],
    ['twin.safetensors [1111111111]', 'one/twin.safetensors [1111111111]'],
    ['new', 'new.ckpt'],
    ['tiny', null],
    ['elsewhere/tiny-a', null],
    ['0000000000', null]
  ]
  for (const [wanted, title] of table) t.equal(findCheckpoint(wanted, inventory)?.title ?? null, title, wanted)
  t.throws(() => findCheckpoint('twin', inventory), {
    code: 'checkpoint_not_found',
    message: /one\/twin.+two\/twin/,
    details: { nearest: ['one/twin.safetensors [1111111111]', 'two/twin.safetensors [2222222222]'] }
  })
  const nested = { checkpoints: [file('x.safetensors'), file('a/x.safetensors'), file('b/a/x.safetensors')] }
  t.equal(findCheckpoint('/m/b/a/x.safetensors', nested)?.title, 'b/a/x.safetensors', 'the longest known path wins')
})

t.test('samplers and schedulers are found under current and former names', async t => {
  const table: Array<[string, string | null, string | null]> = [
    ['Euler a', 'Euler a', null],
    ['euler A', 'Euler a', null],
    ['k_euler_a', 'Euler a', null],
    ['euler_ancestral', 'Euler a', null],
    ['DPM++ 2M Karras', 'DPM++ 2M', 'Karras'],
    ['dpmpp_2m_karras', 'DPM++ 2M', 'Karras'],
    ['dpmpp_2s_ancestral', 'DPM++ 2S a', null],
    ['DPM2 a Karras', 'DPM2 a', 'Karras'],
    ['Euler a SGM Uniform', 'Euler a', 'SGM Uniform'],
    ['Euler a Uniform', 'Euler a', 'Uniform'],
    ['DDIM', 'DDIM', null],
    ['Karras', null, null],
    ['Heun', null, null]
  ]
  for (const [wanted, sampler, scheduler] of table) {
    const found = findSampler(wanted, inventory)
    t.equal(found?.sampler ?? null, sampler, wanted)
    t.equal(found?.scheduler?.label ?? null, scheduler, `${wanted}: scheduler`)
  }
  for (const wanted of ['SGM Uniform', 'sgm_uniform', 'SGMUniform', 'sgm uniform']) t.equal(findScheduler(wanted, inventory)?.label, 'SGM Uniform')
})

t.test('an admitted job has the server\'s own names', async t => {
  const { parameters, checkpointTitle, warnings } = admitted({
    prompt: 'cat <lora:ADD_DETAIL.safetensors:0.8:0.5> <lora:detail_tweaker:1> <lora:__any__:1>',
    checkpoint_name: 'sub\\tiny-c',
    sampler_name: 'dpmpp_2m_karras',
    refiner_checkpoint: 'pony',
    enable_hr: true,
    denoising_strength: 0.5,
    hr_upscaler: 'r-esrgan 4X+',
    hr_prompt: 'dog <lora:pixel:1>',
    hr_sampler_name: 'euler',
    vae: 'vae-ft-mse-840000-ema-pruned',
    style_preset: 'cinematic',
    script_name: 'X/Y/Z plot',
    script_args: [1],
    alwayson_scripts: { ControlNet: { args: [] } }
  })
  t.equal(checkpointTitle, 'sub/tiny-c.safetensors [1022f77ec5]')
  t.strictSame(warnings, [])
  t.match(parameters, {
    prompt: 'cat <lora:add_detail:0.8:0.5> <lora:detail_tweaker:1> <lora:__any__:1>',
    sampler_name: 'DPM++ 2M',
    scheduler: 'Karras',
    refiner_checkpoint: 'Pony\\pony.safetensors [aabbccddee]',
    hr_upscaler: 'R-ESRGAN 4x+',
    hr_prompt: 'dog <lora:pixel:1>',
    hr_sampler_name: 'Euler',
    override_settings: { sd_vae: 'vae-ft-mse-840000-ema-pruned.safetensors' },
    styles: ['Cinematic'],
    script_name: 'x/y/z plot',
    script_args: [1],
    alwayson_scripts: { controlnet: { args: [] } }
  })
  const again = admitted({ ...parameters, checkpoint_name: checkpointTitle })
  t.strictSame(again, { parameters, checkpointTitle, warnings: [] }, 'admitting it once more changes nothing')
  t.equal(admitted({ prompt: 'cat' }).checkpointTitle, null, 'no checkpoint named: the server chooses')
  t.equal(admitted({ prompt: 'cat', vae: 'automatic' }).parameters.override_settings?.sd_vae, 'Automatic')
})

const unit = (names: object) => ({ alwayson_scripts: { controlnet: { args: [names] } } })

t.test('ControlNet units get the server\'s own names, with or without hash', async t => {
  const { parameters } = admitted({ prompt: 'cat', ...unit({ model: 'control_v11p_sd15_canny', module: 'Canny', weight: 0.5 }) })
  t.match(parameters, unit({ model: 'control_v11p_sd15_canny [d14c016b]', module: 'canny', weight: 0.5 }))
  const off = unit({ enabled: false, model: 'nothing of the kind' })
  t.match(admitted({ prompt: 'cat', ...off }).parameters, off, 'a unit that is off is left alone')
})

t.test('names that a server lacks are rejected with the most similar ones, or left out with a warning', async t => {
  const table: Array<[object, string, string, string[], object]> = [
    [{ checkpoint_name: 'tiny_a2' }, 'checkpoint_not_found', 'checkpoint_name', ['tiny-a.safetensors [5ce6cf3d87]'], {}],
    [{ checkpoint_name: 'twin' }, 'checkpoint_not_found', 'checkpoint_name', ['one/twin.safetensors [1111111111]'], {}],
    [{ sampler_name: 'Eulr a' }, 'sampler_not_found', 'sampler_name', ['Euler a'], { sampler_name: 'Euler a' }],
    [{ scheduler: 'Karas' }, 'scheduler_not_found', 'scheduler', ['Karras'], { scheduler: undefined }],
    [{ vae: 'vae-ft-mse' }, 'model_not_found', 'override_settings.sd_vae', ['vae-ft-mse-840000-ema-pruned.safetensors'], { override_settings: {} }],
    [{ prompt: 'cat <lora:pixle:1>' }, 'model_not_found', 'prompt', ['pixel'], { prompt: 'cat' }],
    [{ refiner_model: 'tiny-b' }, 'model_not_found', 'refiner_checkpoint', ['tiny-a.safetensors [5ce6cf3d87]'], { refiner_checkpoint: undefined }],
    [{ enable_hr: true, denoising_strength: 1, hr_upscaler: 'UltraSharp' }, 'model_not_found', 'hr_upscaler', ['4x-UltraSharp'], { hr_upscaler: undefined }],
    [{ script_name: 'xyz plot', script_args: [1] }, 'script_not_found', 'script_name', ['x/y/z plot'], { script_name: undefined, script_args: undefined }],
    [{ alwayson_scripts: { ControlNets: { args: [] } } }, 'script_not_found', 'alwayson_scripts.ControlNets', ['controlnet'], { alwayson_scripts: undefined }],
    [unit({ model: 'control_canny' }), 'model_not_found', 'alwayson_scripts.controlnet.args.0.model', ['control_v11p_sd15_canny [d14c016b]'], unit({ model: 'None', enabled: true, module: 'none' })],
    [unit({ module: 'cany' }), 'model_not_found', 'alwayson_scripts.controlnet.args.0.module', ['canny'], unit({ module: 'none', enabled: true })]
  ]
  for (const [given, code, field, [first], left] of table) {
    const body = { prompt: 'cat', ...given }
    const details = { field, nearest: { 0: first } }
    t.throws(() => admitted(body), { code, status: 422, details }, JSON.stringify(given))
    const { parameters, checkpointTitle, warnings } = admitted(body, { onMissing: 'ignore' })
    t.strictSame(warnings.map(({ code, field }) => [code, field]), [[code, field]])
    t.equal(checkpointTitle, null)
    for (const [name, value] of Object.entries(left)) t.strictSame(Reflect.get(parameters, name), value, `${name} afterwards`)
  }
  t.throws(() => admitted({ init_images: ['iVBORw0KGgo='] }, { img2img: false }), { code: 'server_capability' })
})

t.test('an unknown style has no effect at the server, so it only gives a warning', async t => {
  const { parameters, warnings } = admitted({ prompt: 'cat', styles: ['Cinema', 'cinematic', 'None'] })
  t.strictSame(parameters.styles, ['Cinema', 'Cinematic'])
  t.match(warnings, [{ code: 'style_not_found', field: 'styles.0', message: /Nearest: Cinematic/ }])
  t.equal(warnings.length, 1)
  t.strictSame(admitted({ prompt: 'cat', styles: ['Cinema'] }, { onMissing: 'ignore' }).parameters.styles, [])
})

t.test('missing lists of a server do not reject a job', async t => {
  const bare = inventoryOf({
    missing: ['checkpoints', 'samplers', 'schedulers', 'upscalers', 'latentUpscaleModes', 'vaes', 'loras', 'styles', 'scripts']
  })
  const body = {
    prompt: 'cat <lora:x:1>', sampler_name: 'Mine', scheduler: 'Its', refiner_checkpoint: 'r', styles: ['s'], script_name: 'p', script_args: [], alwayson_scripts: { q: { args: [] } }
  }
  const { parameters, checkpointTitle, warnings } = admitted({ ...body, checkpoint_name: 'c.safetensors' }, { at: bare })
  t.match(parameters, body)
  t.equal(checkpointTitle, 'c.safetensors')
  t.strictSame(warnings, [])
  const modules = { forge_additional_modules: ['/etc/passwd'] }
  t.strictSame(admitted({ override_settings: modules }, { at: bare }).parameters.override_settings, { forge_additional_modules: ['passwd'] }, 'but no paths')
})

t.test('samplers suit the server\'s version', async t => {
  const pairOf = (given: object, setting: Partial<CompatibilitySetting>) => {
    const { sampler_name: sampler, scheduler } = admitted({ prompt: 'cat', ...given }, setting).parameters
    return [sampler, scheduler]
  }
  const old = { at: beforeSchedulers }
  t.strictSame(pairOf({ sampler_name: 'DPM++ 2M Karras' }, old), ['DPM++ 2M Karras', undefined])
  t.strictSame(pairOf({ sampler_name: 'DPM++ 2M', scheduler: 'karras' }, old), ['DPM++ 2M Karras', undefined])
  t.strictSame(pairOf({ sampler_name: 'DPM++ 2M Karras' }, {}), ['DPM++ 2M', 'Karras'])
  t.strictSame(pairOf({ sampler_name: 'DPM++ 2M Karras', scheduler: 'Uniform' }, {}), ['DPM++ 2M', 'Uniform'])
  t.strictSame(pairOf({ sampler_name: 'Euler Karras' }, { kind: 'sdcpp' }), ['Euler', 'karras'])
  t.strictSame(pairOf({}, {}), ['Euler a', undefined], 'Euler a where nothing is asked for')
  t.strictSame(pairOf({}, { at: { ...inventory, samplers: [{ name: 'DDIM', aliases: [] }] } }), [undefined, undefined])
  t.strictSame(pairOf({ scheduler_or_quality_preset: 'karras', sampling_category: 'DDIM' }, {}), ['DDIM', 'Karras'])
  t.strictSame(pairOf({ scheduler_or_quality_preset: 'high', sampling_category: 'fast', style_preset: 'x' }, {}), ['Euler a', undefined])
})

t.test('similar names are sorted by likelihood, and misleading ones are left out', async t => {
  const names = ['sd_xl_base_1.0.safetensors [31e35c80fc]', 'sd_xl_refiner_1.0.safetensors', 'v1-5-pruned-emaonly.safetensors', 'sub/dreamshaper_8.safetensors']
  t.strictSame(nearest('sdxl base', names, 1), [names[0]])
  t.strictSame(nearest('DreamShaper', names, 1), [names[3]])
  t.strictSame(nearest('v1-5-pruned', names, 1), [names[2]])
  t.strictSame(nearest('qqqq', names), [])
  t.strictSame(nearest('', names), [])
  t.equal(nearest('sd_xl', names, 2).length, 2)
})

t.test('an exact name has precedence over its parts', t => {
  const named = (title: string) => ({ title, modelName: title.replace(/\.\w+( \[.*)?$/, ''), hash: null, sha256: null, filename: '' })
  const checkpoints = ['model [deadbeef].safetensors [abcdef1234]', 'model.safetensors [deadbeef00]', 'deadbeef.safetensors'].map(named)
  t.equal(findCheckpoint('model [deadbeef]', { checkpoints })?.title, 'model [deadbeef].safetensors [abcdef1234]')
  t.equal(findCheckpoint('model', { checkpoints })?.title, 'model.safetensors [deadbeef00]')
  t.equal(findCheckpoint('deadbeef', { checkpoints })?.title, 'deadbeef.safetensors')
  const samplers = [
    { name: 'DPM++ 2M', aliases: ['DPM++ 2M Karras'] }, { name: 'DPM++ 2M Karras', aliases: [] }
  ]
  const schedulers = [{ name: 'karras', label: 'Karras', aliases: [] }]
  t.same(findSampler('DPM++ 2M Karras', { samplers, schedulers }), { sampler: 'DPM++ 2M Karras', scheduler: null })
  t.end()
})
