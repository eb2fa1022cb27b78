import { isDeepStrictEqual } from 'node:util'
import fc from '../property.ts'
import t from 'tap'
import { forgeExtensionParameters } from '../clients/bodies.ts'
import { A1111Parameters, GenerationParameters } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { fieldRules } from '../../src/a1111/field-values.ts'
import { insertImages, replaceImages, visitImages } from '../../src/a1111/images.ts'
import { normaliseParameters, type NormalisingOptions } from '../../src/a1111/parameters.ts'

const rules = fieldRules(A1111Parameters)
const options: NormalisingOptions = { rules, random: () => 4711, maximumPixels: 400_000_000 }
const normalise = (given: unknown, other: Partial<NormalisingOptions> = {}) =>
  normaliseParameters(given, { ...options, ...other })
const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const basics = {
  prompt: 'cat',
  negative_prompt: '',
  steps: 20,
  cfg_scale: 7,
  width: 512,
  height: 512,
  batch_size: 1,
  n_iter: 1,
  seed: 4711
}

interface ClientCase {
  who: string
  body: unknown
  parameters: object
  checkpoint?: string
  mode?: string
  hints?: object
}

function refusal (given: unknown): { code: string, field: unknown, message: string } {
  try {
    normalise(given)
  } catch (error) {
    if (error instanceof ServiceError) return { code: error.code, field: error.details.field, message: error.message }
    throw error
  }
  throw new Error('it was accepted')
}

t.test('the fields of real clients become A1111\'s field names', async t => {
  const forgeExtension = { ...forgeExtensionParameters, negative_prompt: '', width: 512, height: 512, steps: 20 }
  const table: ClientCase[] = [{
    who: 'Forge extension',
    body: forgeExtension,
    parameters: {
      ...basics,
      prompt: 'A beautiful landscape',
      sampler_name: 'Euler',
      restore_faces: false,
      denoising_strength: 0.7
    }
  }, {
    who: 'Forge extension on Windows with hires fix',
    body: { ...forgeExtension, checkpoint_name: 'Pony\\x.safetensors', enable_hr: true, seed: 0 },
    parameters: {
      ...basics,
      prompt: 'A beautiful landscape',
      seed: 0,
      sampler_name: 'Euler',
      restore_faces: false,
      denoising_strength: 0.7,
      enable_hr: true,
      hr_scale: 2,
      hr_upscaler: 'Latent'
    },
    checkpoint: 'Pony\\x.safetensors'
  }, {
    who: 'older extension with a whole sdapi payload',
    body: { prompt: 'cat', sampler_index: 'Euler a', batch_count: 3, override_settings: { sd_model_checkpoint: 'a.ckpt', CLIP_stop_at_last_layers: 2 }, alwayson_scripts: { ADetailer: { args: [true, { ad_model: 'face_yolov8n.pt' }] } } },
    parameters: { ...basics, n_iter: 3, sampler_name: 'Euler a', override_settings: { CLIP_stop_at_last_layers: 2 }, alwayson_scripts: { ADetailer: { args: [true, { ad_model: 'face_yolov8n.pt' }] } } },
    checkpoint: 'a.ckpt'
  }, {
    who: 'older extension with the values of a Gradio form',
    body: { type: 'gradio_raw', tab_id: 'txt2img', raw_payload: { data: ['cat', null, 'dog', [], 20, 1, 2, 3, { a: 1 }, 0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0, 2, 0, 'DPM++ 2M', 'x.safetensors [0123456789]'] } },
    parameters: { ...basics, negative_prompt: 'dog', seed: 99, batch_size: 2, sampler_name: 'DPM++ 2M' },
    checkpoint: 'x.safetensors [0123456789]'
  }, {
    who: 'a Gradio form whose places hold other things',
    body: { type: 'gradio_raw', raw_payload: { data: ['cat', 1, 2, ...Array(20).fill(''), 'Balanced'] } },
    parameters: basics
  }, {
    who: 'old names of this service',
    body: { positive_prompt: 'cat', num_images: 2, enable_hires_fix: true, upscaler_model: '4x', refiner_model: 'r.safetensors', sd_checkpoint: 'a', model_hash: '0123456789', sampler: 'Euler', scheduler_or_quality_preset: 'Karras', sampling_category: 'fast', style_preset: 'None', denoising_strength: '0.5' },
    parameters: { ...basics, n_iter: 2, enable_hr: true, hr_upscaler: '4x', refiner_checkpoint: 'r.safetensors', sampler_name: 'Euler', denoising_strength: 0.5 },
    checkpoint: 'a [0123456789]',
    hints: { scheduler: 'Karras', sampler: 'fast' }
  }, {
    who: 'a form that sends everything as text',
    body: { prompt: 'cat', steps: '20', cfg_scale: '6.5', width: ' 640 ', seed: '7', restore_faces: 'true', tiling: '0', clip_skip: '2', vae: 'None' },
    parameters: { ...basics, cfg_scale: 6.5, width: 640, seed: 7, restore_faces: true, tiling: false, override_settings: { CLIP_stop_at_last_layers: 2, sd_vae: 'None' } }
  }, {
    who: 'webuiapi img2img',
    body: { prompt: 'cat', init_images: [png], mask: png, sampler_name: null, sampler_index: 'Euler', styles: [], script_name: null, script_args: [], send_images: true, save_images: false, inpaint_full_res: 1, inpainting_mask_invert: false },
    parameters: { ...basics, init_images: [png], mask: png, sampler_name: 'Euler', styles: [], inpaint_full_res: true, inpainting_mask_invert: 0 },
    mode: 'img2img'
  }, {
    who: 'Discord bot with LoRAs beside the prompt',
    body: { prompt: 'cat <lora:b:1>', loras: [{ filename: 'sub\\a.safetensors', weight: '0.8' }, 'b'] },
    parameters: { ...basics, prompt: 'cat <lora:b:1> <lora:a:0.8>' }
  }, {
    who: 'LoRAs as an object of weights',
    body: { prompt: '', lora: { a: 0.5 } },
    parameters: { ...basics, prompt: '<lora:a:0.5>' }
  }, {
    who: 'a body with an infotext of its own',
    body: { prompt: 'cat', steps: 5, infotext: 'dog\nSteps: 9, Sampler: DDIM, CFG scale: 3, Seed: 8, Clip skip: 2, Model: other', override_settings: {} },
    parameters: { ...basics, steps: 5, sampler_name: 'DDIM', cfg_scale: 3, seed: 8, override_settings: { CLIP_stop_at_last_layers: 2 } }
  }]
  for (const { who, body, parameters, checkpoint = null, mode = 'txt2img', hints = {} } of table) {
    const result = normalise(body)
    t.strictSame(result.parameters, parameters, who)
    t.equal(result.checkpoint, checkpoint, `${who}: checkpoint`)
    t.equal(result.mode, mode, `${who}: mode`)
    t.strictSame(result.hints, hints, `${who}: hints`)
  }
})

t.test('values that A1111 answers with a 500, or generates differently, are rejected with their field', async t => {
  const cat = { prompt: 'cat' }
  const table: Array<[string, unknown, string, string?]> = [
    ['steps', { ...cat, steps: 0 }, 'steps'],
    ['fractions of steps', { ...cat, steps: 20.5 }, 'steps'],
    ['fractions as text', { ...cat, steps: '20.5' }, 'steps'],
    ['steps in words', { ...cat, steps: 'many' }, 'steps'],
    ['size', { ...cat, width: 0 }, 'width'],
    ['batch', { ...cat, batch_size: 0 }, 'batch_size'],
    ['a number for a prompt', { prompt: 5 }, 'prompt'],
    ['address of an image', { ...cat, init_images: [' HTTPS://127.0.0.1/x.png'] }, 'init_images.0'],
    ['address without scheme', { ...cat, init_images: ['//127.0.0.1/x'] }, 'init_images.0'],
    ['file address', { ...cat, init_images: [png], mask: 'file:///etc/passwd' }, 'mask'],
    ['address in a ControlNet unit', { ...cat, alwayson_scripts: { ControlNet: { args: [{ image: { image: 'http://x/', mask: png } }] } } }, 'alwayson_scripts.ControlNet.args.0.image.image'],
    ['a reference that a client made up', { ...cat, init_images: [png], alwayson_scripts: { x: { args: [{ $media: '../../key' }] } } }, 'alwayson_scripts.x.args.0'],
    ['a number as image', { ...cat, init_images: [7] }, 'init_images.0'],
    ['mask alone', { ...cat, mask: png }, 'mask'],
    ['img2img without image', { ...cat, mode: 'img2img' }, 'init_images', 'missing_required_field'],
    ['more images than the batch', { ...cat, init_images: [png, png, png], batch_size: 2 }, 'init_images'],
    ['unknown mode', { ...cat, mode: 'video' }, 'mode'],
    ['Gradio without values', { type: 'gradio_raw', raw_payload: {} }, 'raw_payload.data'],
    ['no object', 'cat', 'generation_params'],
    ['script arguments that are no list', { ...cat, alwayson_scripts: { x: { args: {} } } }, 'alwayson_scripts.x.args'],
    ['unknown server setting', { ...cat, override_settings: { outdir_samples: '/etc' } }, 'override_settings.outdir_samples', 'unsupported_parameter'],
    ['wrong type of server setting', { ...cat, override_settings: { CLIP_stop_at_last_layers: 'two' } }, 'override_settings.CLIP_stop_at_last_layers'],
    ['a script that runs programs', { ...cat, script_name: 'Custom Code' }, 'script_name', 'unsupported_parameter'],
    ['a folder of the server', { ...cat, alwayson_scripts: { controlnet: { args: [{ batch_image_dir: '/home' }] } } }, 'alwayson_scripts.controlnet.args.0.batch_image_dir', 'unsupported_parameter'],
    ['tag signs in a LoRA name', { ...cat, loras: ['a:1><b'] }, 'loras.0'],
    ['more LoRAs than anybody looks up', { prompt: Array.from({ length: 65 }, (_, index) => `<lora:a${index}:1>`).join('') }, 'prompt'],
    ['an endless name', { ...cat, sampler_name: 'x'.repeat(1001) }, 'sampler_name'],
    ['too many pixels', { ...cat, width: 4096, height: 4096, batch_size: 4, n_iter: 10 }, 'width'],
    ['too many pixels by hires fix', { ...cat, width: 4096, height: 4096, enable_hr: true, hr_scale: 8 }, 'width']
  ]
  for (const [what, body, field, code = 'invalid_field_value'] of table) {
    t.match(refusal(body), { code, field }, what)
  }
  t.equal(refusal({ prompt: 'cat', steps: 20.5 }).message, 'steps is 20.5, but must be a whole number of at least 1.')
  t.match(refusal({ prompt: 'cat', override_settings: { save_init_img: true } }).message, /writes to its disk/)
})

t.test('every change on the way gives a warning', async t => {
  const codes = (given: unknown, other = {}) => normalise(given, other).warnings.map(({ code }) => code)
  t.strictSame(codes({ prompt: 'cat', save_images: true, app_type: 'forge' }), [])
  t.strictSame(codes({ prompt: 'cat', url: 'x', auth: 'secret' }), ['unknown_parameters_ignored'])
  t.notMatch(normalise({ prompt: 'cat', auth: 'secret' }).warnings[0]?.message, /secret/, 'values stay untold')
  t.strictSame(codes({ prompt: 'cat', enable_hr: true }), ['denoising_strength_filled_in'])
  t.equal(normalise({ prompt: 'cat', enable_hr: true }).parameters.denoising_strength, 0.7)
  t.strictSame(codes({ prompt: 'cat', width: 100, height: 70 }), ['size_rounded'])
  t.match(normalise({ prompt: 'cat', width: 100, height: 70 }).parameters, { width: 96, height: 64 })
  t.strictSame(codes({ prompt: 'cat', init_images: [png, png], batch_size: 3 }), ['batch_size_reduced'])
  t.strictSame(codes({ prompt: 'cat', init_images: [png] }, { mode: 'txt2img' }), ['init_images_ignored'])
  t.notOk(normalise({ prompt: 'cat', init_images: [png] }, { mode: 'txt2img' }).parameters.init_images)
  t.strictSame(codes({ prompt: 'cat', alwayson_scripts: { refiner: {} } }), ['script_without_arguments_ignored'])
})

t.test('numbers that A1111 itself checks are passed on, and those outside its interface\'s range give a warning', async t => {
  const insane = {
    steps: 1000,
    cfg_scale: -3,
    denoising_strength: 2,
    eta: 9,
    s_noise: 7,
    s_tmax: 1e308,
    subseed: 5,
    subseed_strength: 1.5,
    width: 4104,
    mask_blur: -2,
    refiner_switch_at: 3,
    clip_skip: 40
  }
  const { parameters, warnings } = normalise({ prompt: 'cat', ...insane })
  const { clip_skip: layers, ...fields } = insane
  t.match(parameters, { ...fields, override_settings: { CLIP_stop_at_last_layers: layers } })
  t.strictSame(warnings.filter(({ code }) => code === 'outside_usual_range').map(({ field }) => field).toSorted(), [
    'cfg_scale', 'denoising_strength', 'eta', 'mask_blur', 'override_settings.CLIP_stop_at_last_layers', 'refiner_switch_at',
    's_noise', 'steps', 'subseed_strength', 'width'
  ])
  t.match(warnings[0]?.message, /^steps is 1000; A1111's own interface offers 1 to 150/)
  t.equal(normalise({ prompt: 'cat', s_tmax: Infinity }).parameters.s_tmax, Number.MAX_VALUE, 'as JSON has no infinity')
  t.equal(normalise({ prompt: 'cat', s_tmax: '1e308' }).parameters.s_tmax, 1e308)
  const impossible = { prompt: 'cat', steps: 0, width: -8, batch_size: 0, init_images: [png, png] }
  t.match(normalise(impossible, { judge: 'server' }).parameters, { steps: 0, width: -8, batch_size: 0 })
  for (const huge of [
    { width: 1e9, height: 1e9 }, { width: -1e9, height: 1e9 }, { enable_hr: true, hr_scale: 1e200 },
    { seed_resize_from_w: 1e6, seed_resize_from_h: 1e6 }
  ]) {
    t.throws(() => normalise({ prompt: 'cat', ...huge }, { judge: 'server' }), { message: /PIXELS_PER_JOB_MEGAPIXELS/ })
  }
  t.throws(() => normalise({ prompt: 'cat', n_iter: 11, width: 8, height: 8 }, { maximumImages: 10, judge: 'server' }),
    { message: /OUTPUTS_PER_JOB/, details: { field: 'n_iter' } })
})

t.test('settings that change no image are left out with a warning, others rejected', async t => {
  const settings = { enable_pnginfo: true, live_previews_enable: false, js_modal_lightbox: true, tiling: true }
  const { parameters, warnings } = normalise({ prompt: 'cat', override_settings: settings })
  t.strictSame(parameters.override_settings, { tiling: true })
  t.strictSame(warnings.map(({ code, field }) => [code, field]), ['enable_pnginfo', 'live_previews_enable', 'js_modal_lightbox']
    .map(name => ['override_setting_ignored', `override_settings.${name}`]))
  t.throws(() => normalise({ prompt: 'cat', override_settings: { api_enable_requests: false } }, { judge: 'server' }), { code: 'unsupported_parameter' })
  t.strictSame(normalise({ prompt: 'cat', override_settings: { not_an_option: 1 } }, { judge: 'server' }).warnings.map(({ code }) => code), ['override_setting_ignored'])
})

t.test('"None", empty and null choose nothing', async t => {
  for (const nothing of ['None', 'none', '', '  ', null, 'Use same sampler']) {
    const { parameters, checkpoint } = normalise({ prompt: 'cat', sampler_name: nothing, hr_upscaler: nothing, refiner_checkpoint: nothing, checkpoint_name: nothing, scheduler: nothing, script_name: nothing, script_args: [1] })
    t.strictSame(parameters, basics, JSON.stringify(nothing))
    t.equal(checkpoint, null)
  }
})

t.test('seeds are chosen at submission, 0 is a seed', async t => {
  const asked: number[] = []
  const random = (below: number) => { asked.push(below); return below - 1 }
  t.equal(normalise({ prompt: 'cat', seed: -1 }, { random }).parameters.seed, 4_294_967_293)
  t.strictSame(asked, [4_294_967_294])
  t.equal(normalise({ prompt: 'cat', seed: null }).parameters.seed, 4711)
  t.equal(normalise({ prompt: 'cat', seed: 0 }).parameters.seed, 0)
  t.match(normalise({ prompt: 'cat', subseed_strength: 0.1 }).parameters, { subseed: 4711, subseed_strength: 0.1 })
  t.notOk('subseed' in normalise({ prompt: 'cat', subseed: -1, subseed_strength: 0 }).parameters)
})

t.test('a second normalization changes nothing', async t => {
  const property = fc.property(fc.record({
    prompt: fc.string(),
    steps: fc.integer({ min: 1, max: 150 }),
    width: fc.integer({ min: 8, max: 2048 }),
    seed: fc.maxSafeNat(),
    sampler: fc.string(),
    clip_skip: fc.integer({ min: 1, max: 12 }),
    enable_hires_fix: fc.boolean(),
    batch_count: fc.integer({ min: 1, max: 4 })
  }, { requiredKeys: [] }), given => {
    const first = normalise(given)
    const second = normalise(first.parameters)
    const same = isDeepStrictEqual(second.parameters, first.parameters)
    return same && second.warnings.length === 0
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 200 }))
})

t.test('any JSON is understood or rejected with a field, never anything else', async t => {
  const anyValue = fc.jsonValue({ maxDepth: 3 })
  const names = Object.keys(GenerationParameters.properties)
  const property = fc.property(fc.dictionary(fc.constantFrom(...names), anyValue), given => {
    try {
      const { parameters } = normalise(given)
      return Number.isSafeInteger(parameters.seed) && Object.keys(parameters).every(name => rules.has(name))
    } catch (error) {
      return error instanceof ServiceError && typeof error.details.field === 'string'
    }
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 500 }))
})

t.test('images in the parameters become references and come back', async t => {
  const dataUrl = `data:image/png;base64,${png}`
  const { parameters } = normalise({
    prompt: 'cat',
    init_images: [png],
    mask: dataUrl,
    alwayson_scripts: {
      controlnet: { args: [{ enabled: true, image: { image: png, mask: png }, model: 'canny' }, { input_image: png }] },
      other: { args: [dataUrl, 'a prompt that is longer than sixty-four characters and still is no picture at all', 5, null] }
    }
  })
  const fields: string[] = []
  visitImages(parameters, ({ field }) => fields.push(field))
  t.strictSame(fields.toSorted(), [
    'alwayson_scripts.controlnet.args.0.image.image', 'alwayson_scripts.controlnet.args.0.image.mask',
    'alwayson_scripts.controlnet.args.1.input_image', 'alwayson_scripts.other.args.0', 'init_images.0', 'mask'
  ])
  const before = JSON.stringify(parameters)
  const kept = new Map<string, string>()
  const stored = await replaceImages(parameters, async (image, field) => {
    kept.set(`${field}.png`, String(image))
    return { $media: `${field}.png` }
  })
  t.equal(JSON.stringify(parameters), before, 'the original is untouched')
  t.notMatch(JSON.stringify(stored), /iVBOR/)
  t.strictSame(stored.mask, { $media: 'mask.png' })
  const restored = await insertImages(stored, async ({ $media }) => kept.get($media) ?? '')
  t.strictSame(restored, parameters)
})

t.test('an empty image is rejected before the queue', async t => {
  for (const images of [[''], [png, '  ']]) {
    const field = `init_images.${images.length - 1}`
    t.throws(() => normalise({ batch_size: 2, init_images: images }), { code: 'invalid_image', details: { field } })
  }
  t.match(normalise({ mode: 'txt2img', init_images: [''] }), { mode: 'txt2img' })
})
