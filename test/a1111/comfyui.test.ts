import t from 'tap'
import { readComfyUi } from '../../src/a1111/foreign/comfyui.ts'
import { toParameters } from '../../src/a1111/infotext-parameters.ts'

type Nodes = Record<string, { class_type: string, inputs: Record<string, unknown> }>

const node = (type: string, inputs: Record<string, unknown>) => ({ class_type: type, inputs })

/** A graph with the usual nodes, except those that it replaces by id. */
function read (own: Nodes) {
  const usual: Nodes = {
    model: node('CheckpointLoaderSimple', { ckpt_name: 'base.safetensors' }),
    latent: node('EmptyLatentImage', { width: 512, height: 768, batch_size: 1 }),
    yes: node('CLIPTextEncode', { text: 'a fox', clip: ['model', 1] }),
    no: node('CLIPTextEncode', { text: 'blurry', clip: ['model', 1] }),
    sampler: node('KSampler', {
      seed: 1, steps: 20, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['model', 0], positive: ['yes', 0], negative: ['no', 0], latent_image: ['latent', 0]
    }),
    decode: node('VAEDecode', { samples: ['sampler', 0], vae: ['model', 2] }),
    save: node('SaveImage', { images: ['decode', 0] })
  }
  const found = readComfyUi({ ...usual, ...own })
  return { parameters: found === null ? null : toParameters(found.infotext), notes: found?.notes ?? [] }
}

const sampling = (inputs: Record<string, unknown>, type = 'KSampler') => node(type, {
  seed: 1, steps: 20, cfg: 7, sampler_name: 'euler', scheduler: 'normal', denoise: 1, model: ['model', 0], positive: ['yes', 0], negative: ['no', 0], latent_image: ['latent', 0], ...inputs
})

t.test('graphs are followed to the parameters of the image', async t => {
  const cases: Array<[string, Nodes, object]> = [
    ['the usual one', {}, { prompt: 'a fox', negative_prompt: 'blurry', steps: '20', cfg_scale: '7', seed: '1', sampler_name: 'Euler', scheduler: 'Normal', width: '512', height: '768', checkpoint_name: 'base.safetensors' }],
    ['SDXL encoders', {
      yes: node('CLIPTextEncodeSDXL', { text_g: 'a fox', text_l: 'sharp', width: 1024, height: 1024, clip: ['model', 1] }),
      no: node('CLIPTextEncodeSDXL', { text_g: 'blurry', text_l: 'blurry', clip: ['model', 1] })
    }, { prompt: 'a fox, sharp', negative_prompt: 'blurry', width: '512' }],
    ['conditioning that is combined and changed', {
      yes: node('ConditioningSetArea', { conditioning: ['both', 0], width: 64, height: 64 }),
      both: node('ConditioningCombine', { conditioning_1: ['one', 0], conditioning_2: ['two', 0] }),
      one: node('CLIPTextEncode', { text: 'a fox', clip: ['model', 1] }),
      two: node('CLIPTextEncode', { text: 'a hen', clip: ['model', 1] })
    }, { prompt: 'a fox, a hen' }],
    ['ControlNet between', {
      control: node('ControlNetApplyAdvanced', { positive: ['yes', 0], negative: ['no', 0], strength: 1 }),
      sampler: sampling({ positive: ['control', 0], negative: ['control', 1] })
    }, { prompt: 'a fox', negative_prompt: 'blurry' }],
    ['values of primitive nodes', {
      yes: node('CLIPTextEncode', { text: ['join', 0], clip: ['model', 1] }),
      join: node('StringConcatenate', { string_a: ['text', 0], string_b: 'at dusk', delimiter: ', ' }),
      text: node('PrimitiveStringMultiline', { value: 'a fox' }),
      chance: node('Seed (rgthree)', { seed: 99 }),
      wide: node('PrimitiveInt', { value: 640 }),
      latent: node('EmptySD3LatentImage', { width: ['wide', 0], height: 640 }),
      sampler: sampling({ seed: ['chance', 0] })
    }, { prompt: 'a fox, at dusk', seed: '99', width: '640', height: '640' }],
    ['KSamplerAdvanced with a refiner', {
      sampler: sampling({ noise_seed: 7, seed: undefined, add_noise: 'enable' }, 'KSamplerAdvanced'),
      refine: sampling({ noise_seed: 8, seed: undefined, model: ['other', 0], latent_image: ['sampler', 0] }, 'KSamplerAdvanced'),
      other: node('CheckpointLoaderSimple', { ckpt_name: 'refiner.safetensors' }),
      decode: node('VAEDecode', { samples: ['refine', 0], vae: ['model', 2] })
    }, { seed: '7', checkpoint_name: 'base.safetensors' }],
    ['a second pass', {
      large: node('LatentUpscaleBy', { samples: ['sampler', 0], scale_by: 1.5 }),
      second: sampling({ seed: 2, denoise: 0.5, latent_image: ['large', 0] }),
      decode: node('VAEDecode', { samples: ['second', 0], vae: ['model', 2] })
    }, { seed: '1', width: '512' }],
    ['Flux with a guider', {
      model: node('UNETLoader', { unet_name: 'flux\\flux1-dev.safetensors', weight_dtype: 'default' }),
      lora: node('LoraLoaderModelOnly', { lora_name: 'soft.safetensors', strength_model: 0.8, model: ['model', 0] }),
      guided: node('FluxGuidance', { guidance: 3.5, conditioning: ['yes', 0] }),
      guider: node('BasicGuider', { model: ['lora', 0], conditioning: ['guided', 0] }),
      noise: node('RandomNoise', { noise_seed: 5 }),
      choice: node('KSamplerSelect', { sampler_name: 'dpmpp_2m_sde_gpu' }),
      sigmas: node('BasicScheduler', { scheduler: 'beta', steps: 25, denoise: 1, model: ['lora', 0] }),
      sampler: node('SamplerCustomAdvanced', { noise: ['noise', 0], guider: ['guider', 0], sampler: ['choice', 0], sigmas: ['sigmas', 0], latent_image: ['latent', 0] })
    }, { prompt: 'a fox <lora:soft:0.8>', seed: '5', steps: '25', sampler_name: 'DPM++ 2M SDE', scheduler: 'Beta', distilled_cfg_scale: '3.5', checkpoint_name: 'flux/flux1-dev.safetensors' }],
    ['SamplerCustom', {
      choice: node('SamplerEulerAncestral', { eta: 1 }),
      sigmas: node('KarrasScheduler', { steps: 30, sigma_max: 14 }),
      sampler: node('SamplerCustom', { model: ['model', 0], add_noise: true, noise_seed: 3, cfg: 4, positive: ['yes', 0], negative: ['no', 0], sampler: ['choice', 0], sigmas: ['sigmas', 0], latent_image: ['latent', 0] })
    }, { seed: '3', steps: '30', cfg_scale: '4', sampler_name: 'Euler a', scheduler: 'Karras' }],
    ['LoRAs behind each other and in a stack', {
      one: node('LoraLoader', { lora_name: 'first.safetensors', strength_model: 1, model: ['model', 0], clip: ['model', 1] }),
      stack: node('Power Lora Loader (rgthree)', { model: ['one', 0], lora_1: { on: true, lora: 'second.safetensors', strength: 0.5 }, lora_2: { on: false, lora: 'third.safetensors', strength: 1 } }),
      sampler: sampling({ model: ['stack', 0] })
    }, { prompt: 'a fox <lora:first:1> <lora:second:0.5>' }],
    ['a loader that takes everything', {
      load: node('Efficient Loader', { ckpt_name: 'all.safetensors', lora_name: 'x.safetensors', lora_model_strength: 0.4, clip_skip: -2, positive: 'a hen', negative: 'ugly', empty_latent_width: 600, empty_latent_height: 400 }),
      sampler: node('KSampler (Efficient)', { seed: 4, steps: 8, cfg: 2, sampler_name: 'lcm', scheduler: 'sgm_uniform', model: ['load', 0], positive: ['load', 1], negative: ['load', 2], latent_image: ['load', 3] })
    }, { prompt: 'a hen <lora:x:0.4>', negative_prompt: 'ugly', checkpoint_name: 'all.safetensors', width: '600', height: '400', sampler_name: 'LCM', scheduler: 'SGM Uniform' }],
    ['a negative that is nothing', { no: node('ConditioningZeroOut', { conditioning: ['yes', 0] }) }, { prompt: 'a fox', negative_prompt: '' }],
    ['clip skip', { last: node('CLIPSetLastLayer', { stop_at_clip_layer: -2, clip: ['model', 1] }) }, { clip_skip: '2' }],
    ['a picture to start from', {
      latent: node('VAEEncode', { pixels: ['image', 0], vae: ['model', 2] }),
      image: node('LoadImage', { image: 'a.png' }),
      sampler: sampling({ denoise: 0.6 })
    }, { denoising_strength: '0.6', prompt: 'a fox' }]
  ]
  for (const [what, own, fields] of cases) t.match(read(own).parameters, fields, what)
})

t.test('omitted parts are reported', async t => {
  t.strictSame(read({}).notes, [])
  t.match(read({ yes: node('SomebodysWriter', { model: ['model', 0], words: { a: 1 } }) }), {
    parameters: { prompt: '' }, notes: [/prompt of this ComfyUI graph/]
  })
  t.match(read({ second: sampling({ latent_image: ['sampler', 0] }) }).notes, [/first of several/])
  t.match(read({ latent: node('VAEEncode', { pixels: ['x', 0] }) }).notes, [/starts from a picture/])
  t.equal(read({ sampler: node('Note', {}), decode: node('Note', {}) }).parameters, null)
})

t.test('circular graphs end', async t => {
  const circle = read({
    yes: node('ConditioningCombine', { conditioning_1: ['yes', 0], conditioning_2: ['no', 0] }),
    model: node('LoraLoader', { lora_name: 'a', model: ['model', 0] }),
    latent: node('LatentUpscale', { samples: ['latent', 0], width: 64, height: 64 }),
    a: node('PrimitiveInt', { value: ['b', 0] }),
    b: node('PrimitiveInt', { value: ['a', 0] }),
    sampler: sampling({ seed: ['a', 0] })
  })
  t.match(circle.parameters, { prompt: 'blurry <lora:a:1>', negative_prompt: 'blurry' })
})
