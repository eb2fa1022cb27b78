import fc from '../property.ts'
import t from 'tap'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { fieldRules } from '../../src/a1111/field-values.ts'
import { parseInfotext, writeInfotext } from '../../src/a1111/infotext.ts'
import { toParameters } from '../../src/a1111/infotext-parameters.ts'
import { normaliseParameters } from '../../src/a1111/parameters.ts'

const options = { rules: fieldRules(A1111Parameters), random: () => 4711, maximumPixels: 400_000_000 }
const normalise = (given: unknown) => normaliseParameters(given, options)

const rich = `a lighthouse, <lora:detail:0.8>
Steps: of stone, at dusk

second paragraph
Negative prompt: blurry,
ugly
Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 0, Size: 832x1216, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, VAE hash: 235745af8d, VAE: sdxl_vae.safetensors, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: 4x-UltraSharp, Lora hashes: "detail: 0123456789, other: abc", Hires prompt: "sharp, \\"crisp\\"", Civitai resources: [{"type":"checkpoint","modelVersionId":128078},{"type":"lora","weight":0.8}], Version: v1.10.1`

t.test('an infotext is parsed with all its lines and quotes', async t => {
  const { prompt, negativePrompt, fields } = parseInfotext(rich.replaceAll('\n', '\r\n'))
  t.equal(prompt, 'a lighthouse, <lora:detail:0.8>\nSteps: of stone, at dusk\n\nsecond paragraph')
  t.equal(negativePrompt, 'blurry,\nugly')
  t.equal(fields.get('Lora hashes'), 'detail: 0123456789, other: abc')
  t.equal(fields.get('Hires prompt'), 'sharp, "crisp"')
  t.equal(fields.get('Civitai resources'), '[{"type":"checkpoint","modelVersionId":128078},{"type":"lora","weight":0.8}]')
  t.equal(fields.get('Version'), 'v1.10.1')
})

t.test('every parameter in it is used', async t => {
  const { parameters, checkpoint, mode, warnings } = normalise({ generation_info_raw: rich })
  t.equal(mode, 'txt2img')
  t.equal(checkpoint, 'sd_xl_base_1.0 [31e35c80fc]')
  t.strictSame(warnings, [])
  t.strictSame(parameters, {
    prompt: 'a lighthouse, <lora:detail:0.8>\nSteps: of stone, at dusk\n\nsecond paragraph',
    negative_prompt: 'blurry,\nugly',
    steps: 24,
    width: 832,
    height: 1216,
    cfg_scale: 6.5,
    batch_size: 1,
    n_iter: 1,
    sampler_name: 'DPM++ 2M',
    scheduler: 'Karras',
    denoising_strength: 0.4,
    hr_scale: 1.5,
    hr_upscaler: '4x-UltraSharp',
    hr_second_pass_steps: 10,
    hr_prompt: 'sharp, "crisp"',
    enable_hr: true,
    override_settings: { CLIP_stop_at_last_layers: 2, sd_vae: 'sdxl_vae.safetensors' },
    seed: 0
  })
})

t.test('infotexts of other shapes are read too', async t => {
  const table: Array<[string, string, object]> = [
    ['only a prompt', 'a cat: sitting, sleeping', { prompt: 'a cat: sitting, sleeping', negative_prompt: '', override_settings: {} }],
    ['only a negative prompt', 'Negative prompt: dog', { prompt: '', negative_prompt: 'dog', override_settings: {} }],
    ['nothing', '', { prompt: '', negative_prompt: '', override_settings: {} }],
    ['one parameter a line', 'cat\nSteps: 5\nSampler: Euler\nSize: 64 x 128', { prompt: 'cat', negative_prompt: '', steps: '5', sampler_name: 'Euler', width: '64', height: '128', override_settings: {} }],
    ['parameters that do not begin with steps', 'cat\nSampler: Euler, Seed: 4', { prompt: 'cat', negative_prompt: '', sampler_name: 'Euler', seed: '4', override_settings: {} }],
    ['a prompt that looks like one parameter', 'Model: a woman, 30 years', { prompt: 'Model: a woman, 30 years', negative_prompt: '', override_settings: {} }],
    ['a value whose quote never ends', 'cat\nSteps: 5, Hires prompt: "x, Seed: 4', { prompt: 'cat', negative_prompt: '', steps: '5', hr_prompt: '"x', seed: '4', override_settings: {} }],
    ['Forge with modules', 'cat\nSteps: 5, Distilled CFG Scale: 3.5, Module 1: ae, Module 2: t5xxl_fp16, RNG: CPU', { prompt: 'cat', negative_prompt: '', steps: '5', distilled_cfg_scale: '3.5', override_settings: { randn_source: 'CPU', forge_additional_modules: ['ae', 't5xxl_fp16'] } }],
    ['a fixed hires size', 'cat\nSteps: 5, Hires resize: 1024x768', { prompt: 'cat', negative_prompt: '', steps: '5', hr_resize_x: '1024', hr_resize_y: '768', enable_hr: true, override_settings: {} }],
    ['restored faces', 'cat\nSteps: 5, Face restoration: CodeFormer', { prompt: 'cat', negative_prompt: '', steps: '5', restore_faces: true, override_settings: { face_restoration_model: 'CodeFormer' } }]
  ]
  for (const [what, text, fields] of table) t.strictSame(toParameters(parseInfotext(text)), fields, what)
})

t.test('words of a prompt that look like parameters stay in the prompt', async t => {
  const prompts = [
    'Size: large house, Model: Eva, blond hair',
    'How to draw an owl\nSteps: 3 easy steps',
    'Size: large, Model: Eva, Sampler: a musician',
    'Seed: of doubt, CFG scale: fish',
    'Steps: one, two, three',
    'Sampler: a woman\nwith needlework',
    'a poster that says Steps: 20, Seed: 4'
  ]
  for (const prompt of prompts) {
    t.strictSame(toParameters(parseInfotext(prompt)), { prompt, negative_prompt: '', override_settings: {} }, prompt)
    t.match(toParameters(parseInfotext(`${prompt}\nNegative prompt: ${prompt}\nSteps: 20, Sampler: Euler a, Seed: 1`)),
      { prompt, negative_prompt: prompt, steps: '20', seed: '1' }, `${prompt}, with parameters`)
  }
})

t.test('infotexts by A1111 of all ages and its extensions are read', async t => {
  const base = 'cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1'
  const table: Array<[string, string, object]> = [
    ['a first pass size', `${base}, Size: 1024x1536, Denoising strength: 0.7, First pass size: 512x768`,
      { width: '512', height: '768', hr_resize_x: '1024', hr_resize_y: '1536', enable_hr: true, denoising_strength: '0.7' }],
    ['a first pass size that A1111 chose', `${base}, Size: 1024x1024, First pass size: 0x0`,
      { width: '512', height: '512', hr_resize_x: '1024', hr_resize_y: '1024', enable_hr: true }],
    ['templates of Dynamic Prompts', `${base}, Size: 512x512\nTemplate: {red|blue} cat, Seed: 9, Size: 8x8\nsitting\nNegative Template: dog, Steps: 4`,
      { prompt: 'cat', negative_prompt: 'dog', seed: '1', steps: '20', width: '512', height: '512' }],
    ['inpaint fields', `${base}, Mask blur: 8, Mask mode: Inpaint not masked, Masked content: latent noise, Inpaint area: Only masked, Masked area padding: 64, Conditional mask weight: 0.5`,
      { mask_blur: '8', inpainting_mask_invert: 1, inpainting_fill: 2, inpaint_full_res: true, inpaint_full_res_padding: '64', override_settings: { inpainting_mask_weight: '0.5' } }],
    ['an old hypernetwork', `${base}, Hypernet: anime_2, Hypernet strength: 0.6`, { prompt: 'cat<hypernet:anime_2:0.6>' }],
    ['an old hypernetwork without strength', `${base}, Hypernet: anime_2`, { prompt: 'cat<hypernet:anime_2:1.0>' }],
    ['Scheduler', `${base}, Scheduler: karras`, { scheduler: 'karras' }],
    ['both words for the schedule', `${base}, Scheduler: simple, Schedule type: Karras`, { scheduler: 'Karras' }],
    ['labels in another case', 'cat\nsteps: 20, sampler: Euler a, cfg Scale: 6, seed: 3, size: 64x64', { prompt: 'cat', steps: '20', cfg_scale: '6', seed: '3', width: '64' }],
    ['sigmas', `${base}, Schedule max sigma: 12, Schedule rho: 6`, { override_settings: { sigma_max: '12', rho: '6' } }],
    ['an unclosed quote', `${base}, Hires prompt: "x, Lora hashes: "a: b", Size: 64x64`, { hr_prompt: '"x', width: '64' }],
    ['an unclosed bracket', `${base}, Civitai resources: [{"a": 1, Size: 64x64`, { width: '64' }],
    ['a line of the upscaler below', `${base}, Size: 64x64\nPostprocess upscale by: 4, Size: 9x9`, { width: '64' }],
    ['several negative prompts', 'cat\nNegative prompt: a\nNegative prompt: b\nSteps: 20, Seed: 4', { negative_prompt: 'a\nb' }]
  ]
  for (const [what, text, fields] of table) t.match(toParameters(parseInfotext(text)), fields, what)
})

t.test('a wrong value in an infotext loses only itself', async t => {
  const text = `cat\nSteps: 900, Sampler: Euler, CFG scale: 1e3, Seed: ${2n ** 64n + 5n}, Size: 99999x512, Clip skip: 40, ` +
    'Denoising strength: .5, Variation seed: None, Eta: much'
  for (const field of ['generation_info_raw', 'infotext']) {
    const { parameters, warnings } = normalise({ [field]: text })
    t.match(parameters, {
      prompt: 'cat',
      steps: 150,
      sampler_name: 'Euler',
      cfg_scale: 100,
      seed: 2n ** 64n - 1n,
      width: 4096,
      height: 512,
      denoising_strength: 0.5,
      override_settings: { CLIP_stop_at_last_layers: 12 }
    }, field)
    t.notOk('eta' in parameters)
    t.strictSame(warnings.map(({ code, message }) => [code, message.split(' ')[0]]).sort(), [
      ['infotext_value_clipped', 'CLIP_stop_at_last_layers'], ['infotext_value_clipped', 'cfg_scale'],
      ['infotext_value_clipped', 'seed'], ['infotext_value_clipped', 'steps'], ['infotext_value_clipped', 'width'],
      ['infotext_value_ignored', 'eta']
    ])
    t.ok(warnings.every(warning => warning.field === field))
  }
  t.equal(normalise({ infotext: text, steps: 900 }).parameters.steps, 900, 'what is asked for is passed on')
  t.equal(normaliseParameters({ infotext: text }, { ...options, judge: 'server' }).parameters.steps, 900, 'as A1111 does')
  t.throws(() => normalise({ generation_info_raw: 'x'.repeat(100_001) }), { code: 'invalid_field_value' })
})

t.test('values that only together exceed a limit are reduced too', async t => {
  const last = normalise({ infotext: `cat\nSteps: 5, Seed: ${2n ** 64n - 1n}`, n_iter: 4 })
  t.equal(last.parameters.seed, 2n ** 64n - 4n)
  t.match(last.warnings, [{ code: 'infotext_value_clipped', field: 'seed' }])
  const huge = normalise({ generation_info_raw: 'cat\nSteps: 5, Seed: 1, Size: 4096x4096, Hires upscale: 8, Denoising strength: 0.4' })
  t.match(huge.parameters, { width: 4096, enable_hr: true, hr_scale: 4.88 })
})

t.test('parameters beside an infotext have precedence', async t => {
  const { parameters, checkpoint } = normalise({ generation_info_raw: rich, prompt: 'this', steps: 9, n_iter: 3, override_settings: { eta_ddim: 0.5 } })
  t.match(parameters, {
    prompt: 'this',
    negative_prompt: 'blurry,\nugly',
    steps: 9,
    n_iter: 3,
    override_settings: { CLIP_stop_at_last_layers: 2, sd_vae: 'sdxl_vae.safetensors', eta_ddim: 0.5 }
  })
  t.equal(checkpoint, 'sd_xl_base_1.0 [31e35c80fc]')
  t.equal(normalise({ generation_info_raw: rich, checkpoint_name: 'other' }).checkpoint, 'other')
  t.equal(normalise({ infotext: rich }).checkpoint, null, 'by A1111\'s rule')
  const image = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
  const fromImage = normalise({ raw_generation_info: rich, init_images: [image] })
  t.match(fromImage, { mode: 'img2img', parameters: { init_images: [image], steps: 24 } })
  t.match(normalise({ generation_info_raw: rich, type: 'gradio_raw', raw_payload: { data: ['x'] } }).warnings,
    [{ code: 'raw_payload_ignored', field: 'raw_payload' }])
})

t.test('our own infotext can be read back', async t => {
  const written = { prompt: 'a "cat",\nsitting', negativePrompt: 'dog: big', fields: new Map([['Steps', '5'], ['Seed', '4'], ['Model', 'a, "b": c']]) }
  const read = parseInfotext(writeInfotext(written))
  t.strictSame([read.prompt, read.negativePrompt, [...read.fields]], ['a "cat",\nsitting', 'dog: big', [...written.fields]])
})

t.test('A1111\'s own infotext, with its quotes, can be read back', async t => {
  const value = fc.string({ minLength: 1 }).map(text => text.trim()).filter(text => text !== '' && !/^["[{]/.test(text))
  const property = fc.property(value, value, (one, other) => {
    const quote = (text: string) => /[,\n:"\\]/.test(text) ? JSON.stringify(text) : text
    const { fields } = parseInfotext(`cat\nSteps: 5, Model: ${quote(one)}, Hires prompt: ${quote(other)}, Seed: 6`)
    return fields.get('Model') === one && fields.get('Hires prompt') === other && fields.get('Seed') === '6'
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('long texts of open quotes and brackets are parsed in time', async t => {
  for (const part of ['a:[,', 'a:",', ',', 'a ', '"\\', '{":,']) {
    const { prompt, fields } = parseInfotext(`cat\nSteps: 5, ${part.repeat(100_000 / part.length)}`)
    t.equal(prompt, 'cat', part)
    t.equal(fields.get('Steps'), '5', part)
  }
})
