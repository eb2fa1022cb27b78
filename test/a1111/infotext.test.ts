import fc from '../property.ts'
import t from 'tap'
import { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { fieldRules } from '../../src/a1111/field-values.ts'
import { parseInfotext, toParameters } from '../../src/a1111/infotext.ts'
import { normaliseParameters } from '../../src/a1111/parameters.ts'

const normalise = (given: unknown) => normaliseParameters(given, {
  rules: fieldRules(A1111Parameters), random: () => 4711, maximumPixels: 400_000_000
})

const rich = `a lighthouse, <lora:detail:0.8>
Steps: of stone, at dusk

second paragraph
Negative prompt: blurry,
ugly
Steps: 24, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 0, Size: 832x1216, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, VAE hash: 235745af8d, VAE: sdxl_vae.safetensors, Denoising strength: 0.4, Clip skip: 2, Hires upscale: 1.5, Hires steps: 10, Hires upscaler: 4x-UltraSharp, Lora hashes: "detail: 0123456789, other: abc", Hires prompt: "sharp, \\"crisp\\"", Civitai resources: [{"type":"checkpoint","modelVersionId":128078},{"type":"lora","weight":0.8}], Version: v1.10.1`

t.test('an infotext is taken apart with all its lines and quotes', async t => {
  const { prompt, negativePrompt, fields } = parseInfotext(rich.replaceAll('\n', '\r\n'))
  t.equal(prompt, 'a lighthouse, <lora:detail:0.8>\nSteps: of stone, at dusk\n\nsecond paragraph')
  t.equal(negativePrompt, 'blurry,\nugly')
  t.equal(fields.get('Lora hashes'), 'detail: 0123456789, other: abc')
  t.equal(fields.get('Hires prompt'), 'sharp, "crisp"')
  t.equal(fields.get('Civitai resources'), '[{"type":"checkpoint","modelVersionId":128078},{"type":"lora","weight":0.8}]')
  t.equal(fields.get('Version'), 'v1.10.1')
})

t.test('everything that it says of the generation is used', async t => {
  const { parameters, checkpoint, mode, warnings } = normalise({ generation_info_raw: rich, prompt: 'not this' })
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
    ['a value whose quote never ends', 'cat\nSteps: 5, Hires prompt: "x, Seed: 4', { prompt: 'cat', negative_prompt: '', steps: '5', hr_prompt: '"x, Seed: 4', override_settings: {} }],
    ['Forge with modules', 'cat\nSteps: 5, Distilled CFG Scale: 3.5, Module 1: ae, Module 2: t5xxl_fp16, RNG: CPU', { prompt: 'cat', negative_prompt: '', steps: '5', distilled_cfg_scale: '3.5', override_settings: { randn_source: 'CPU', forge_additional_modules: ['ae', 't5xxl_fp16'] } }],
    ['a fixed hires size', 'cat\nSteps: 5, Hires resize: 1024x768', { prompt: 'cat', negative_prompt: '', steps: '5', hr_resize_x: '1024', hr_resize_y: '768', enable_hr: true, override_settings: {} }],
    ['restored faces', 'cat\nSteps: 5, Face restoration: CodeFormer', { prompt: 'cat', negative_prompt: '', steps: '5', restore_faces: true, override_settings: { face_restoration_model: 'CodeFormer' } }]
  ]
  for (const [what, text, fields] of table) t.strictSame(toParameters(parseInfotext(text)), fields, what)
})

t.test('a wrong value in an infotext is refused under the field it fills', async t => {
  t.throws(() => normalise({ generation_info_raw: 'cat\nSteps: 5000, Sampler: Euler' }),
    { code: 'invalid_field_value', details: { field: 'steps' } })
  t.throws(() => normalise({ generation_info_raw: 'x'.repeat(100_001) }), { code: 'invalid_field_value' })
})

t.test('what A1111 writes, quoted where it must be, is read back', async t => {
  const value = fc.string({ minLength: 1 }).map(text => text.trim()).filter(text => text !== '' && !/^["[{]/.test(text))
  const property = fc.property(value, value, (one, other) => {
    const quote = (text: string) => /[,\n:"\\]/.test(text) ? JSON.stringify(text) : text
    const { fields } = parseInfotext(`cat\nSteps: 5, Model: ${quote(one)}, Hires prompt: ${quote(other)}, Seed: 6`)
    return fields.get('Model') === one && fields.get('Hires prompt') === other && fields.get('Seed') === '6'
  })
  t.doesNotThrow(() => fc.assert(property, { numRuns: 300 }))
})

t.test('long texts of open quotes and brackets are still taken apart', async t => {
  for (const part of ['a:[,', 'a:",', ',', 'a ', '"\\', '{":,']) {
    const { prompt, fields } = parseInfotext(`cat\nSteps: 5, ${part.repeat(100_000 / part.length)}`)
    t.equal(prompt, 'cat', part)
    t.equal(fields.get('Steps'), '5', part)
  }
})
