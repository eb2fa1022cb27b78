import t from 'tap'
import { quick, startService } from '../helper.ts'
import { webuiapiDefaults, webuiapiTxt2img } from './bodies.ts'
import {
  asking, basic, drawing, failNext, jsonOf, listsRead, opened, running, serverGone, type Fields, type Generation
} from './http.ts'

/** webuiapi 0.9.17, a Python library: the requests of its methods, and the fields that they read from the answers. */
const service = await startService(t, { settings: { JOB_ATTEMPTS: '1' } })
await listsRead(service)
const ask = asking(service)
const get = async <Value = Fields>(name: string) => await jsonOf<Value>(ask('GET', `/sdapi/v1/${name}`))

interface Result { images: string[], parameters: unknown, info: unknown, json: Fields }

/** Raises for any status but 200; reads images, info and parameters if they exist. */
async function toResult (answer: Promise<Response>): Promise<Result> {
  const response = await answer
  if (response.status !== 200) throw new Error(`(${response.status}, ${await response.text()})`)
  const json = await jsonOf(response)
  const images = 'images' in json ? json.images as string[] : 'image' in json ? [String(json.image)] : []
  for (const image of images) await opened(image)
  return { images, parameters: json.parameters ?? '', info: infoOf(json), json }
}

function infoOf (json: Fields): unknown {
  if (!('info' in json)) return json.html_info ?? json.caption ?? ''
  try {
    return JSON.parse(String(json.info))
  } catch {
    return json.info
  }
}

const post = async (name: string, json: unknown, headers: Record<string, string> = {}) =>
  await toResult(ask('POST', `/sdapi/v1/${name}`, { json, headers }))

const txt2img = (more: Fields) => webuiapiTxt2img({ ...quick, ...more })
const img2img = (more: Fields) => ({
  init_images: [`data:image/png;base64,${drawing}`],
  resize_mode: 0,
  denoising_strength: 0.75,
  mask_blur: 4,
  inpainting_fill: 0,
  inpaint_full_res: true,
  inpaint_full_res_padding: 0,
  inpainting_mask_invert: 0,
  initial_noise_multiplier: 1,
  image_cfg_scale: 1.5,
  include_init_images: false,
  ...webuiapiDefaults,
  ...quick,
  ...more
})
const extras = (more: Fields) => ({
  resize_mode: 0,
  show_extras_results: true,
  gfpgan_visibility: 0,
  codeformer_visibility: 0,
  codeformer_weight: 0,
  upscaling_resize: 2,
  upscaling_resize_w: 512,
  upscaling_resize_h: 512,
  upscaling_crop: true,
  upscaler_1: 'None',
  upscaler_2: 'None',
  extras_upscaler_2_visibility: 0,
  upscale_first: false,
  ...more
})

t.test('check_extensions and every list', async t => {
  const scripts = await get<Record<string, string[]>>('scripts')
  t.ok(scripts.txt2img?.includes('x/y/z plot'))
  for (const [name, field] of [
    ['samplers', 'name'], ['schedulers', 'name'], ['upscalers', 'name'], ['latent-upscale-modes', 'name'],
    ['sd-vae', 'model_name'], ['sd-models', 'title'], ['loras', 'name'], ['face-restorers', 'name'],
    ['realesrgan-models', 'name'], ['prompt-styles', 'name']
  ] as const) {
    const entries = await get<Fields[]>(name)
    t.ok(entries.length > 0, name)
    for (const entry of entries) t.type(entry[field], 'string', name)
  }
  t.strictSame(await get('hypernetworks'), [])
  t.match(await get('embeddings'), { loaded: Object, skipped: Object })
  t.match(await get('memory'), { ram: { free: Number, used: Number, total: Number }, cuda: Object })
  t.ok(Object.keys(await get('cmd-flags')).length > 100)
  for (const name of ['artists', 'artist-categories']) {
    t.strictSame(await get(name), { detail: 'Not Found' }, 'what A1111 has no more')
  }
})

t.test('txt2img with all of its parameters', async t => {
  const result = await post('txt2img', txt2img({ seed: 1003, batch_size: 2, n_iter: 2 }))
  t.equal(result.images.length, 4)
  t.match(result.info, { seed: 1003, all_seeds: [1003, 1004, 1005, 1006], sampler_name: 'Euler a' })
  t.match(result.parameters, { prompt: quick.prompt, batch_size: 2, n_iter: 2, eta: 1, s_tmax: 0 })
  const larger = await post('txt2img', txt2img({ enable_hr: true, hr_second_pass_steps: 1, hr_prompt: 'sharper' }))
  t.strictSame(await opened(larger.images[0]), { format: 'png', width: 128, height: 128 })
  const other = await post('txt2img', txt2img({
    styles: ['None'], override_settings: { sd_model_checkpoint: 'anime-pastel', CLIP_stop_at_last_layers: 2 }
  }))
  t.match(other.info, { sd_model_name: 'anime-pastel', clip_skip: 2 })
  t.strictSame((await post('txt2img', txt2img({ send_images: false }))).images, [])
})

t.test('scripts, always-on scripts, ControlNet units and extensions that the server lacks', async t => {
  const grid = await post('txt2img', txt2img({
    script_name: 'X/Y/Z Plot',
    script_args: [4, '1, 2', [], 0, '', [], 0, '', [], true, true, false, false, false, false, false, 0, false]
  }))
  t.ok(grid.images.length >= 1)
  const unit = {
    image: drawing,
    mask: null,
    module: 'canny',
    model: 'control_v11p_sd15_canny [d14c016b]',
    weight: 1,
    resize_mode: 'Resize and Fill',
    low_vram: false,
    processor_res: 512,
    threshold_a: 64,
    threshold_b: 64,
    guidance_start: 0,
    guidance_end: 1,
    control_mode: 'Balanced',
    pixel_perfect: false,
    hr_option: 'Both',
    enabled: true
  }
  const guided = await post('txt2img', txt2img({ alwayson_scripts: { ControlNet: { args: [unit] } } }))
  t.ok(guided.images.length >= 1)
  await post('txt2img', txt2img({ alwayson_scripts: { ControlNet: { args: [] } } }))
  const { images: [first] } = await post('img2img', img2img({ alwayson_scripts: { ControlNet: { args: [unit] } } }))
  t.ok(first)
  await t.rejects(post('txt2img', txt2img({ alwayson_scripts: { ADetailer: { args: [true, {}] } } })), /422/)
})

t.test('img2img, with a mask, with several images', async t => {
  const data = `data:image/png;base64,${drawing}`
  t.equal((await post('img2img', img2img({ seed: 7 }))).images.length, 1)
  t.equal((await post('img2img', img2img({ mask: data }))).images.length, 1)
  t.equal((await post('img2img', img2img({ init_images: [data, data], batch_size: 2 }))).images.length, 2)
  await t.rejects(post('img2img', img2img({ init_images: [] })), /\((404|422|500), /)
})

t.test('extra_single_image, extra_batch_images, png_info, interrogate', async t => {
  const one = await post('extra-single-image', extras({ upscaler_1: 'Lanczos', image: drawing }))
  t.strictSame(await opened(one.images[0]), { format: 'png', width: 128, height: 128 })
  t.match(one.info, /Lanczos/, 'html_info is taken for info')
  const imageList = ['image00001', 'image00002'].map(name => ({ data: drawing, name }))
  t.equal((await post('extra-batch-images', extras({ upscaler_1: 'Nearest', imageList }))).images.length, 2)
  const made = await post('txt2img', txt2img({ prompt: 'a mill', seed: 5 }))
  const read = await post('png-info', { image: made.images[0] })
  t.match(read.info, /^a mill\n[^]*Seed: 5/)
  t.match(read.parameters, { Seed: '5' })
  t.match((await post('interrogate', { image: drawing, model: 'clip' })).info, /\w/, 'caption is taken for info')
})

t.test('options, util_get_*, util_set_model and util_wait_for_ready', async t => {
  const titles = (await get<Fields[]>('sd-models')).map(({ title }) => String(title)).sort()
  const set = async (options: Fields) => await jsonOf<unknown>(ask('POST', '/sdapi/v1/options', { json: options }))
  for (const title of titles) {
    t.equal(await set({ sd_model_checkpoint: title }), null)
    // A title gets its hash with the first use of the checkpoint.
    const withoutHash = (name: unknown) => String(name).replace(/ \[\w+\]$/, '')
    t.equal(withoutHash((await get('options')).sd_model_checkpoint), withoutHash(title))
    const progress = await get<{ progress: number, state: { job_count: number } }>('progress')
    t.match(progress, { progress: 0, state: { job_count: 0 } })
    t.match((await post('txt2img', txt2img({}))).info, { sd_model_name: title.split('/').at(-1)?.split('.')[0] })
  }
  t.equal(await set({ sd_model_checkpoint: titles[0] }), null)
  t.strictSame(await jsonOf(ask('POST', '/sdapi/v1/refresh-checkpoints')), null)
})

t.test('several calls at once, as with use_async, each with its own image', async t => {
  const seeds = [1, 2, 3, 4, 5, 6]
  const results = await Promise.all(seeds.map(async seed => await post('txt2img', txt2img({ seed }))))
  t.strictSame(results.map(({ info }) => (info as Fields).seed), seeds)
  t.equal(new Set(results.map(({ images }) => images[0])).size, seeds.length)
})

t.test('set_auth: user and password with every request, or none', async t => {
  const { secret } = (await service.request('POST', '/api/v1/api-keys', { name: 'a script' })).body
  t.match((await post('txt2img', txt2img({ seed: 9 }), basic(`user:${String(secret)}`))).info, { seed: 9 })
})

t.test('ControlNet by its own routes', async t => {
  const of = async (name: string) => await jsonOf<Record<string, unknown>>(ask('GET', `/controlnet/${name}`))
  t.type((await of('version')).version, 'number')
  t.ok(((await of('model_list')).model_list as unknown[]).length > 0)
  t.ok(((await of('module_list')).module_list as unknown[]).includes('canny'))
  const json = {
    controlnet_module: 'canny',
    controlnet_images: [`data:image/png;base64,${drawing}`],
    controlnet_processor_res: 512,
    controlnet_threshold_a: 64,
    controlnet_threshold_b: 64
  }
  await t.rejects(toResult(ask('POST', '/controlnet/detect', { json })), /\(422, .*No image selected/,
    'the extension calls them controlnet_input_images and says so')
})

t.test('interrupt and skip, of a running call and of none', async t => {
  service.simulator.setFaults([{ kind: 'slow', factor: 20, prompt: 'a long one' }])
  const long = post('txt2img', txt2img({ prompt: 'a long one', steps: 150 }))
  await running(service, long)
  t.strictSame(await jsonOf(ask('POST', '/sdapi/v1/interrupt')), {})
  t.ok(Array.isArray((await long).images), 'an interrupted call is no failure')
  t.strictSame(await jsonOf(ask('POST', '/sdapi/v1/interrupt')), {})
  t.equal(await jsonOf<unknown>(ask('POST', '/sdapi/v1/skip')), null)
})

t.test('a failed generation raises, and so does a rejected one', async t => {
  failNext(service)
  await t.rejects(post('txt2img', txt2img({})), /\(500, .*shapes cannot be multiplied/)
  await t.rejects(post('txt2img', txt2img({ sampler_name: 'nope' })), /\(422, .*sampler/)
  await t.rejects(post('extra-single-image', extras({ upscaling_resize: 0, image: drawing })), /\((422|500), /)
  t.equal((await post('txt2img', txt2img({}))).images.length, 1, 'the next one is well')
})

t.test('lists while the server is away are the last known ones', async t => {
  const names = ['samplers', 'sd-models', 'upscalers', 'schedulers', 'loras', 'scripts', 'embeddings', 'cmd-flags', 'sd-vae']
  const before = await Promise.all(names.map(async name => await get<unknown>(name)))
  const options = Object.keys(await get('options'))
  await serverGone(service)
  for (const [index, name] of names.entries()) t.strictSame(await get<unknown>(name), before[index], name)
  t.strictSame(Object.keys(await get('options')), options)
  const waits: Promise<Generation> = jsonOf<Generation>(ask('POST', '/sdapi/v1/txt2img?async=1', { json: txt2img({}) }))
  t.match(await waits, { uuid: String }, 'a generation is still taken')
})
