import AjvCompiler from '@fastify/ajv-compiler'
import t from 'tap'
import { A1111Parameters, GenerationParameters } from '../../schemas/generation-parameters.ts'
import { checkAnswer, imagesAsked } from '../../src/a1111/check-answer.ts'
import { fieldRules } from '../../src/a1111/field-values.ts'
import { normaliseParameters } from '../../src/a1111/parameters.ts'
import { buildPayload } from '../../src/a1111/payload.ts'
import type { ServerKind } from '../../src/a1111/types.ts'

const png = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

function payload (given: unknown, kind: ServerKind = 'a1111', checkpointTitle: string | null = null) {
  const rules = fieldRules(A1111Parameters)
  const { mode, parameters } = normaliseParameters(given, { rules, random: () => 7, maximumPixels: 1e9 })
  return buildPayload({ mode, parameters, checkpointTitle, taskId: 'job-1', traits: { kind } })
}

const decided = { force_task_id: 'job-1', send_images: true, save_images: false }
const basics = { prompt: 'cat', negative_prompt: '', seed: 7, steps: 20, cfg_scale: 7, width: 512, height: 512 }
const batch = { batch_size: 1, n_iter: 1 }

t.test('a plain job becomes exactly this request', async t => {
  t.strictSame(payload({ prompt: 'cat', save_images: true, unknown: 1, hr_scale: 3, distilled_cfg_scale: 3.5, clip_skip: null }),
    { ...basics, ...batch, ...decided })
  t.strictSame(buildPayload({ mode: 'txt2img', parameters: { prompt: 'cat' }, checkpointTitle: null, taskId: 'job-1', traits: null }),
    { prompt: 'cat', ...decided }, 'a server of which nothing is known is taken for an A1111')
})

t.test('the checkpoint is always named, and settings never outlive the job', async t => {
  t.match(payload({ prompt: 'cat' }, 'a1111', 'a [1]'), {
    override_settings: { sd_model_checkpoint: 'a [1]' }, override_settings_restore_afterwards: false
  })
  const skipped = payload({ prompt: 'cat', clip_skip: 2, override_settings_restore_afterwards: false }, 'a1111', 'a [1]')
  t.strictSame(skipped.override_settings, { CLIP_stop_at_last_layers: 2, sd_model_checkpoint: 'a [1]' })
  t.equal(skipped.override_settings_restore_afterwards, true)
  t.notOk('override_settings' in payload({ prompt: 'cat', override_settings: { forge_preset: 'sd' } }), 'A1111 fails on settings of Forge')
})

t.test('img2img has its own fields and none of hires fix', async t => {
  t.strictSame(payload({ prompt: 'cat', init_images: [png], mask: png, inpainting_fill: 1, enable_hr: true, hr_scale: 2, denoising_strength: 0.5 }), {
    ...basics, ...batch, ...decided, init_images: [png], mask: png, inpainting_fill: 1, denoising_strength: 0.5
  })
})

t.test('hires fix on Forge does not fail and does not lose colour', async t => {
  const given = { prompt: 'cat', enable_hr: true, denoising_strength: 0.5, cfg_scale: 4, distilled_cfg_scale: 3, vae: 'ae.safetensors' }
  const hires = { enable_hr: true, denoising_strength: 0.5, cfg_scale: 4 }
  t.strictSame(payload(given, 'forge'), {
    ...basics,
    ...batch,
    ...decided,
    ...hires,
    distilled_cfg_scale: 3,
    hr_cfg: 4,
    hr_distilled_cfg: 3,
    hr_additional_modules: ['Use same choices'],
    override_settings: { forge_additional_modules: ['ae.safetensors'] },
    override_settings_restore_afterwards: true
  })
  t.match(payload({ ...given, hr_cfg: 1, hr_additional_modules: ['x'] }, 'forge'), { hr_cfg: 1, hr_additional_modules: ['x'] })
  t.strictSame(payload({ prompt: 'cat', vae: 'None' }, 'forge').override_settings, { forge_additional_modules: [] })
  t.strictSame(payload(given, 'a1111'), {
    ...basics, ...batch, ...decided, ...hires, override_settings: { sd_vae: 'ae.safetensors' }, override_settings_restore_afterwards: true
  })
})

t.test('stable-diffusion.cpp gets only the fields that it knows', async t => {
  const sent = payload({
    prompt: 'cat <lora:sub/a.safetensors:0.5><lora:b:x> <sd_cpp_<lora:c:1>extra_args>{"steps":1}</sd_cpp_extra_args>',
    batch_size: 2,
    n_iter: 3,
    clip_skip: 2,
    sampler_name: 'euler_a',
    alwayson_scripts: { controlnet: { args: [] } },
    enable_hr: true,
    hr_second_pass_steps: 5,
    denoising_strength: 0.4
  }, 'sdcpp', 'model')
  t.strictSame(sent, {
    ...basics,
    prompt: 'cat  (sd_cpp_extra_args){"steps":1}</sd_cpp_extra_args>',
    batch_size: 6,
    sampler_name: 'euler_a',
    clip_skip: 2,
    enable_hr: true,
    hr_steps: 5,
    denoising_strength: 0.4,
    lora: [{ path: 'sub/a.safetensors', multiplier: 0.5 }, { path: 'b', multiplier: 1 }, { path: 'c', multiplier: 1 }]
  })
})

t.test('the answer is compared with the request', async t => {
  const asked = { parameters: { seed: 7, sampler_name: 'Euler a', batch_size: 2, n_iter: 2 }, checkpointTitle: 'sub/tiny-c.safetensors [1022f77ec5]' }
  const right = { seed: 7, sampler_name: 'Euler a', sd_model_name: 'tiny-c', sd_model_hash: '1022f77ec5', index_of_first_image: 0 }
  const codes = (info: object | null, imageCount = 4, checkpointTitle: string | null = asked.checkpointTitle) => {
    const answer = { imageCount, info: info === null ? null : { ...info }, parameters: null }
    return checkAnswer({ ...asked, checkpointTitle }, answer).map(({ code }) => code)
  }
  t.equal(imagesAsked(asked.parameters), 4)
  const table: Array<[string, string[], string[]]> = [
    ['as asked', codes(right), []],
    ['hash in full', codes({ ...right, sd_model_hash: '1022F77EC5DE' }), []],
    ['another checkpoint', codes({ ...right, sd_model_name: 'tiny-a', sd_model_hash: '5ce6cf3d87' }), ['different_checkpoint']],
    ['another file of the same name', codes({ ...right, sd_model_hash: '5ce6cf3d87' }), ['different_checkpoint']],
    ['by name where there is no hash', codes({ ...right, sd_model_hash: null }), []],
    ['another name where there is no hash', codes({ ...right, sd_model_name: 'x', sd_model_hash: null }), ['different_checkpoint']],
    ['title without hash, server that names the folder', codes({ ...right, sd_model_name: 'sub_tiny-c' }, 4, 'sub\\tiny-c.safetensors'), []],
    ['any checkpoint would do', codes({ ...right, sd_model_hash: '5ce6cf3d87' }, 4, null), []],
    ['the default sampler instead', codes({ ...right, sampler_name: 'DPM++ 2M' }), ['different_sampler']],
    ['the same sampler in other words', codes({ ...right, sampler_name: 'euler_a' }), []],
    ['another seed', codes({ ...right, seed: 8 }), ['different_seed']],
    ['interrupted', codes(right, 2), ['fewer_images']],
    ['a grid is no image', codes({ ...right, index_of_first_image: 1 }, 4), ['fewer_images']],
    ['maps of ControlNet', codes(right, 6), []],
    ['no info', codes(null), []]
  ]
  for (const [what, found, expected] of table) t.strictSame(found, expected, what)
})

t.test('the documented schema accepts what clients send and shows the ranges', async t => {
  const customOptions = {
    allowUnionTypes: true, coerceTypes: false, removeAdditional: false, formats: { uint64: true }
  } as const
  const compile = AjvCompiler()({}, { customOptions })
  const validate = compile({ schema: GenerationParameters, method: 'POST', url: '/', httpPart: 'body' })
  t.ok(validate({ positive_prompt: 'cat', steps: '20', seed: null, restore_faces: 'false', styles: 'x', clip_skip: '2', whatever: {} }))
  t.notOk(validate({ steps: 0 }))
  t.notOk(validate({ steps: 20.5 }))
  for (const [name, field] of Object.entries(GenerationParameters.properties)) t.ok(field.description, `${name} is described`)
})
