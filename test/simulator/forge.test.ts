import sharp from 'sharp'
import t from 'tap'
import { small, startBench } from './client.ts'

/** A request and the answer of Forge f2.0.1 by its sources, with the exact texts of the answer last. */
type Row = readonly [
  method: 'GET' | 'POST', path: string, body: unknown, status: number, answer: unknown, ...texts: string[]
]

const grey = { width: 16, height: 16, channels: 3, background: '#777' } as const
const image = (await sharp({ create: grey }).png().toBuffer()).toString('base64')
const notFound = { detail: 'Not Found' }
const notAllowed = { detail: 'Method Not Allowed' }
const notAnImage = { detail: 'Invalid encoded image' }
const txt2img = '/sdapi/v1/txt2img'
const img2img = '/sdapi/v1/img2img'
const single = '/sdapi/v1/extra-single-image'
const batch = '/sdapi/v1/extra-batch-images'
const detect = '/controlnet/detect'

/** An answer to an invalid body. */
function unfit (type: string, msg: string, ...loc: Array<string | number>): object {
  return { detail: [{ type, loc: ['body', ...loc], msg }] }
}

/** An answer to an internal error. */
function exception (error: string, message: string | RegExp): object {
  return { error, detail: '', body: '', message }
}

const generation: readonly Row[] = [
  ['POST', txt2img, small({ cfg_scale: 7 }), 200, { parameters: { cfg_scale: 7, steps: 6, sampler_name: 'Euler a' } },
    '"cfg_scale":7.0,"distilled_cfg_scale":3.5,', '"hr_cfg":1.0,"hr_distilled_cfg":3.5,', '"hr_scale":2.0,',
    '"subseed_strength":0,', '"hr_additional_modules":null'],
  ['POST', txt2img, small({ subseed_strength: 1, denoising_strength: 1 }), 200, {},
    '"subseed_strength":1.0,', '"denoising_strength":1.0,'],
  ['POST', txt2img, small({ steps: '6' }), 200, { parameters: { steps: 6 } }],
  ['POST', txt2img, small({ send_images: false }), 200, { images: [] }],
  ['POST', txt2img, small({ sampler_name: 'nope' }), 200, { info: /"sampler_name": ?"DPM\+\+ 2M"/ }],
  ['POST', txt2img, small({ sampler_name: 'Euler a Karras' }), 200, { info: /Sampler: Euler a, Schedule type: Karras/ }],
  ['POST', txt2img, small({ infotext: 'x\nSteps: 5, Sampler: Euler, CFG scale: 7' }), 500,
    exception('TypeError', 'isinstance() argument 2 cannot be a parameterized generic')],
  ['POST', txt2img, small({ infotext: 'x\nSteps: 5, Sampler: Euler, CFG scale: 7', styles: [] }), 200, {}],
  ['POST', txt2img, small({ script_name: 'nope' }), 422, { detail: 'Script \'nope\' not found' }],
  ['POST', txt2img, small({ alwayson_scripts: { nope: { args: [] } } }), 422, { detail: 'Script \'nope\' not found' }],
  ['POST', txt2img, small({ alwayson_scripts: { 'x/y/z plot': {} } }), 422,
    { detail: 'Cannot have a selectable script in the always on scripts params' }],
  ['POST', txt2img, small({ script_name: 'X/Y/Z plot' }), 500,
    exception('TypeError', /^Script\.run\(\) missing 18 required positional arguments: 'x_type', .*, and 'csv_mode'$/)],
  ['POST', txt2img, small({ script_name: 'x/y/z plot', script_args: [0, '', [], 0, '', [], 0, '', [], true, false, false, false, false, false, false, 0] }), 500,
    exception('TypeError', 'Script.run() missing 1 required positional argument: \'csv_mode\'')],
  ['POST', txt2img, small({ script_name: 'prompt matrix' }), 500, exception('ValueError', 'Unknown prompt type start')],
  ['POST', txt2img, small({ enable_hr: true, hr_upscaler: 'nope' }), 500,
    exception('Exception', 'could not find upscaler named nope')],
  ['POST', txt2img, small({ enable_hr: true, hr_upscaler: 'LDSR' }), 500,
    exception('Exception', 'could not find upscaler named LDSR')],
  ['POST', txt2img, small({ enable_hr: true, hr_checkpoint_name: 'nope' }), 500,
    exception('Exception', 'Could not find checkpoint with name nope')],
  ['POST', txt2img, small({ enable_hr: true }), 500,
    exception('TypeError', 'argument of type \'NoneType\' is not iterable')],
  ['POST', txt2img, small({ refiner_checkpoint: 'nope', refiner_switch_at: 0.5 }), 500,
    exception('Exception', 'Could not find checkpoint with name nope')],
  ['POST', txt2img, undefined, 422, unfit('missing', 'Field required')],
  ['POST', txt2img, '{"steps": ', 422, { detail: [{ type: 'json_invalid', msg: 'JSON decode error', input: {} }] }],
  ['POST', txt2img, [], 422,
    unfit('model_attributes_type', 'Input should be a valid dictionary or object to extract fields from')],
  ['POST', txt2img, { steps: 5.5 }, 422,
    unfit('int_from_float', 'Input should be a valid integer, got a number with a fractional part', 'steps')],
  ['POST', txt2img, { steps: 'many' }, 422,
    unfit('int_parsing', 'Input should be a valid integer, unable to parse string as an integer', 'steps')],
  ['POST', txt2img, { cfg_scale: 'high' }, 422,
    unfit('float_parsing', 'Input should be a valid number, unable to parse string as a number', 'cfg_scale')],
  ['POST', txt2img, { prompt: 5 }, 422, unfit('string_type', 'Input should be a valid string', 'prompt')],
  ['POST', txt2img, { enable_hr: 'perhaps' }, 422,
    unfit('bool_parsing', 'Input should be a valid boolean, unable to interpret input', 'enable_hr')],
  ['POST', txt2img, { send_images: null }, 422, unfit('bool_type', 'Input should be a valid boolean', 'send_images')],
  ['POST', txt2img, { styles: 'one' }, 422, unfit('list_type', 'Input should be a valid list', 'styles')],
  ['POST', txt2img, { styles: [1] }, 422, unfit('string_type', 'Input should be a valid string', 'styles', 0)],
  ['POST', txt2img, { alwayson_scripts: [] }, 422,
    unfit('dict_type', 'Input should be a valid dictionary', 'alwayson_scripts')],
  ['POST', txt2img, { script_args: null }, 422, unfit('list_type', 'Input should be a valid list', 'script_args')],
  ['POST', txt2img, { force_task_id: 5 }, 422, unfit('string_type', 'Input should be a valid string', 'force_task_id')],
  ['POST', img2img, small({ init_images: [image] }), 200, { parameters: { init_images: null, mask: null } },
    '"denoising_strength":0.75,', '"force_task_id":null,"hr_distilled_cfg":3.5,"sampler_index":"Euler"'],
  ['POST', img2img, small({ init_images: [image], include_init_images: true }), 200, { parameters: { init_images: [image] } }],
  ['POST', img2img, {}, 404, { detail: 'Init image not found' }],
  ['POST', img2img, small({ init_images: ['not base64!'] }), 500, notAnImage],
  ['POST', img2img, small({ init_images: [image], mask: 'aGFsbG8=' }), 500, notAnImage],
  ['POST', img2img, small({ init_images: ['http://127.0.0.1/a.png'] }), 500, { detail: 'Request to local resource not allowed' }],
  ['POST', img2img, small({ init_images: [image, image] }), 500,
    exception('RuntimeError', 'bad number of images passed: 2; expecting 1 or less')],
  ['POST', img2img, { init_images: 'one' }, 422, unfit('list_type', 'Input should be a valid list', 'init_images')]
]

const images: readonly Row[] = [
  ['POST', single, { image, upscaler_1: 'Lanczos' }, 200, { html_info: '<p>Postprocess upscale by: 2.0, Postprocess upscaler: Lanczos</p>', image: /^iVBOR/ }],
  ['POST', single, {}, 500, notAnImage],
  ['POST', single, { upscaler_1: 'nope', image: 'not base64!' }, 500, notAnImage],
  ['POST', single, { image: 'http://127.0.0.1/a.png' }, 500, { detail: 'Request to local resource not allowed' }],
  ['POST', single, { image, upscaler_1: 'nope' }, 500, exception('AssertionError', 'could not find upscaler named nope')],
  ['POST', single, { image, upscaler_1: 'LDSR' }, 500, exception('AssertionError', 'could not find upscaler named LDSR')],
  ['POST', single, { image, upscaler_1: 'Lanczos', upscaler_2: 'nope' }, 500,
    exception('AssertionError', 'could not find upscaler named nope')],
  ['POST', single, { image, upscaler_2: 'nope' }, 200, {}],
  ['POST', single, { image, resize_mode: 2 }, 422, unfit('literal_error', 'Input should be 0 or 1', 'resize_mode')],
  ['POST', single, { image, gfpgan_visibility: 2 }, 422,
    unfit('less_than_equal', 'Input should be less than or equal to 1', 'gfpgan_visibility'), '"ctx":{"le":1.0}'],
  ['POST', single, { image, upscaling_resize: 0 }, 422,
    unfit('greater_than', 'Input should be greater than 0', 'upscaling_resize'), '"ctx":{"gt":0.0}'],
  ['POST', single, { image, upscaling_resize_w: 0 }, 422,
    unfit('greater_than_equal', 'Input should be greater than or equal to 1', 'upscaling_resize_w'), '"ctx":{"ge":1}'],
  ['POST', batch, { imageList: [{ data: image, name: 'a' }, { data: image, name: 'b' }] }, 200, { images: [/^iVBOR/, /^iVBOR/] }],
  ['POST', batch, {}, 422, unfit('missing', 'Field required', 'imageList')],
  ['POST', batch, { imageList: [{ data: image }] }, 422, unfit('missing', 'Field required', 'imageList', 0, 'name')],
  ['POST', batch, { imageList: 'one' }, 422, unfit('list_type', 'Input should be a valid list', 'imageList')],
  ['POST', '/sdapi/v1/png-info', { image }, 200,
    { info: '', parameters: { Prompt: '', 'Clip skip': '1', RNG: 'GPU', 'Hires VAE/TE': ['Use same choices'] } }],
  ['POST', '/sdapi/v1/png-info', {}, 422, unfit('missing', 'Field required', 'image')],
  ['POST', '/sdapi/v1/png-info', { image: 'aGFsbG8=' }, 500, notAnImage],
  ['POST', '/sdapi/v1/interrogate', { image }, 200, { caption: String }],
  ['POST', '/sdapi/v1/interrogate', {}, 500, notAnImage],
  ['POST', '/sdapi/v1/interrogate', { image: null }, 422, unfit('string_type', 'Input should be a valid string', 'image')],
  ['POST', '/sdapi/v1/interrogate', { image, model: 'nope' }, 404, { detail: 'Model not found' }]
]

const lists: readonly Row[] = [
  ['GET', '/sdapi/v1/samplers', null, 200, { 0: { name: 'DPM++ 2M' } },
    '{"name":"Restart","aliases":["restart"],"options":{"scheduler":"karras","second_order":true}},' +
    '{"name":"HeunPP2","aliases":["heunpp2"],"options":{}},{"name":"IPNDM","aliases":["ipndm"],"options":{}},' +
    '{"name":"IPNDM_V","aliases":["ipndm_v"],"options":{}},{"name":"DEIS","aliases":["deis"],"options":{}},{"name":"DDIM"',
    '{"name":"DDPM","aliases":["ddpm"],"options":{}}]'],
  ['GET', '/sdapi/v1/schedulers', null, 200, { 12: { name: 'turbo' }, 15: { label: 'Align Your Steps 32' } },
    '"default_rho":-1.0,', '"default_rho":7.0,'],
  ['GET', '/sdapi/v1/upscalers', null, 200, { 0: { name: 'None', model_name: null, model_url: null } }, '"scale":4.0}'],
  ['GET', '/sdapi/v1/latent-upscale-modes', null, 200, { 0: { name: 'Latent' }, 5: { name: 'Latent (nearest-exact)' } }],
  ['GET', '/sdapi/v1/face-restorers', null, 200, [{ name: 'CodeFormer' }, { name: 'GFPGAN' }]],
  ['GET', '/sdapi/v1/realesrgan-models', null, 200, { 5: { name: 'R-ESRGAN 2x+', scale: 2 } }, '"scale":2}'],
  ['GET', '/sdapi/v1/prompt-styles', null, 200,
    { 0: { name: '---------------- STYLES ----------------', prompt: null, negative_prompt: null } }],
  ['GET', '/sdapi/v1/sd-vae', null, 404, notFound],
  ['GET', '/sdapi/v1/sd-modules', null, 200, { 0: { model_name: String, filename: String } }],
  ['GET', '/sdapi/v1/sd-models', null, 200, { 0: { title: String, model_name: String, filename: String, config: null } }],
  ['GET', '/sdapi/v1/hypernetworks', null, 200, []],
  ['GET', '/sdapi/v1/embeddings', null, 200, { loaded: Object, skipped: Object }],
  ['GET', '/sdapi/v1/extensions', null, 200, []],
  ['GET', '/sdapi/v1/scripts', null, 200, { txt2img: Array, img2img: Array }, '"never oom integrated"', '"soft inpainting"'],
  ['GET', '/sdapi/v1/script-info', null, 200, { 0: { name: 'prompt matrix', is_alwayson: false, is_img2img: false, args: Array } },
    '"Make a combined image containing all outputs (if more than one)"'],
  ['GET', '/sdapi/v1/memory', null, 200, { ram: { free: Number, used: Number, total: Number }, cuda: { error: 'unavailable' } }],
  ['GET', '/sdapi/v1/cmd-flags', null, 500, { error: 'ResponseValidationError' }],
  ['GET', '/sdapi/v1/options', null, 200, { forge_preset: 'sd' }, '"CLIP_stop_at_last_layers":1,', '"jpeg_quality":80,', '"initial_noise_multiplier":1.0,', '"img2img_extra_noise":0.0,'],
  ['GET', '/controlnet/version', null, 404, notFound],
  ['GET', '/controlnet/settings', null, 404, notFound],
  ['GET', '/controlnet/model_list', null, 200, { model_list: { 0: 'None' } }],
  ['GET', '/controlnet/module_list', null, 200, { module_list: { 0: 'None' } }],
  ['GET', '/controlnet/control_types', null, 200, {
    control_types: {
      All: { default_option: 'none', default_model: 'None' },
      Depth: { default_option: 'depth_midas', default_model: /^control_v11f1p_sd15_depth/ },
      'IP-Adapter': { module_list: { 0: 'None' }, default_option: 'InsightFace+CLIP-H (IPAdapter)' },
      'Instant-ID': { module_list: ['None', 'InsightFace (InstantID)', 'instant_id_face_keypoints'] },
      Tile: { default_option: 'tile_resample' }
    }
  }],
  ['POST', detect, {}, 422, { detail: 'Module not available' }],
  ['POST', detect, { controlnet_module: 'ip-adapter-auto' }, 422, { detail: 'Module not available' }],
  ['POST', detect, { controlnet_module: 'canny' }, 422, { detail: 'No image selected' }],
  ['POST', detect, { controlnet_module: 'canny', controlnet_input_images: ['not base64!'] }, 500, notAnImage],
  ['POST', detect, { controlnet_module: 'canny', controlnet_processor_res: 1.5 }, 422,
    unfit('int_from_float', 'Input should be a valid integer, got a number with a fractional part', 'controlnet_processor_res')],
  ['POST', detect, { controlnet_module: 'canny', controlnet_input_images: [image] }, 200, { info: 'Success', images: [/^iVBOR/] }]
]

const control: readonly Row[] = [
  ['GET', '/sdapi/v1/progress', null, 200, { current_image: null, textinfo: null, state: { job_count: 0 } },
    '{"progress":0.0,"eta_relative":0.0,"state":{'],
  ['GET', '/sdapi/v1/progress?skip_current_image=perhaps', null, 422, {
    detail: [{
      type: 'bool_parsing',
      loc: ['query', 'skip_current_image'],
      msg: 'Input should be a valid boolean, unable to interpret input'
    }]
  }],
  ['POST', '/internal/progress', {}, 200, { active: true, queued: false, completed: false, id_live_preview: -1 }, '"progress":0.0'],
  ['POST', '/internal/progress', { id_task: 'unknown' }, 200,
    { active: false, queued: false, completed: false, progress: null, eta: null, textinfo: 'Waiting...', id_live_preview: -1 }],
  ['POST', '/internal/progress', { id_task: null }, 422, unfit('string_type', 'Input should be a valid string', 'id_task')],
  ['POST', '/internal/progress', { id_live_preview: 'x' }, 422,
    unfit('int_parsing', 'Input should be a valid integer, unable to parse string as an integer', 'id_live_preview')],
  ['GET', '/internal/pending-tasks', null, 200, { size: 0, tasks: [] }],
  ['GET', '/internal/ping', null, 200, {}],
  ['POST', '/sdapi/v1/interrupt', {}, 200, {}, '{}'],
  ['POST', '/sdapi/v1/skip', {}, 200, {}, 'null'],
  ['POST', '/sdapi/v1/unload-checkpoint', {}, 200, {}, '{}'],
  ['POST', '/sdapi/v1/reload-checkpoint', {}, 200, {}, '{}'],
  ['POST', '/sdapi/v1/refresh-checkpoints', {}, 200, {}, 'null'],
  ['POST', '/sdapi/v1/refresh-vae', {}, 200, {}, 'null'],
  ['POST', '/sdapi/v1/refresh-embeddings', {}, 200, {}, 'null'],
  ['POST', '/sdapi/v1/options', {}, 200, {}, 'null'],
  ['POST', '/sdapi/v1/options', { CLIP_stop_at_last_layers: 2, outdir_samples: 'elsewhere' }, 200, {}, 'null'],
  ['GET', '/sdapi/v1/options', null, 200, { outdir_samples: 'elsewhere' }, '"CLIP_stop_at_last_layers":2.0'],
  ['POST', '/sdapi/v1/options', { CLIP_stop_at_last_layers: 1, outdir_samples: '' }, 200, {}, 'null'],
  ['POST', '/sdapi/v1/options', { nope: 1 }, 500, exception('KeyError', "'nope'")],
  ['POST', '/sdapi/v1/options', { sd_model_checkpoint: 'nope' }, 500, exception('RuntimeError', "model 'nope' not found")],
  ['POST', '/sdapi/v1/options', [], 422, unfit('dict_type', 'Input should be a valid dictionary')],
  ['POST', '/sdapi/v1/create/embedding', {}, 500, exception('TypeError',
    "create_embedding() missing 3 required positional arguments: 'name', 'num_vectors_per_token', and 'overwrite_old'")],
  ['POST', '/sdapi/v1/create/embedding', { name: 'a', num_vectors_per_token: 1, overwrite_old: false }, 500,
    exception('TypeError', "'NoneType' object is not callable")],
  ['POST', '/sdapi/v1/create/hypernetwork', {}, 500, exception('NameError', "name 'create_hypernetwork' is not defined")],
  ['POST', '/sdapi/v1/train/embedding', {}, 404, notFound],
  ['POST', '/sdapi/v1/server-stop', {}, 404, notFound],
  ['GET', '/sdapi/v1/nope', null, 404, notFound],
  ['GET', txt2img, null, 405, notAllowed],
  ['POST', '/sdapi/v1/samplers', {}, 405, notAllowed],
  ['GET', detect, null, 405, notAllowed]
]

t.test('the simulator of Forge answers as Forge\'s sources say', async t => {
  const bench = await startBench(t, { flavor: 'forge', cuda: false, regionalPrompter: false })
  // A failed request leaves its task behind, so generations come last.
  const table = Object.entries({ lists, control, images, generation })
  for (const [group, rows] of table) {
    await t.test(group, async t => {
      for (const [method, path, body, status, answer, ...texts] of rows) {
        const reply = method === 'GET' ? await bench.get(path) : await bench.post(path, body)
        const name = `${method} ${path} ${JSON.stringify(body)?.slice(0, 120) ?? ''}`
        t.match({ status: reply.status, json: reply.json }, { status, json: answer }, name)
        for (const text of texts) t.ok(reply.text.includes(text), `${name} holds ${text}`)
      }
    })
  }
  t.ok(table.flatMap(([, rows]) => rows).length >= 90)
})

t.test('routes that Forge lacks do not exist', async t => {
  const bench = await startBench(t, { flavor: 'forge' })
  const upscalers = (await bench.get('/sdapi/v1/upscalers')).text
  t.notMatch(upscalers, /LDSR|UltraSharp/)
  t.notMatch((await bench.get('/config')).text, /LDSR|UltraSharp/)
  t.notMatch((await bench.get('/sdapi/v1/script-info')).text, /LDSR|UltraSharp|Hypertile/)
  t.match((await bench.get('/sdapi/v1/script-info')).text, /"IPNDM_V"/)
  t.match((await bench.get('/sdapi/v1/memory')).json, { cuda: { system: { total: Number } } })
})
