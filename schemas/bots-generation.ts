import { Type, type Static, type TSchema } from '@sinclair/typebox'
import { examplePng, ImageText } from './a1111-fields.ts'
import { Inline, needing, Nullable, SeedNumber, WithDefaults } from './kit.ts'
import { RegionalConfig } from './bots-extensions.ts'
import { webhookFields } from './webhook.ts'

/**
 * Generation requests of bots and phones: few fields, all with defaults. Ranges and defaults are those that clients of
 * this interface were written for; whatever else an A1111 server takes may stand beside them under A1111's name.
 */
const text = (description: string, value: string, example = value) =>
  Type.String({ description, default: value, examples: [example], maxLength: 100_000 })
const name = (description: string, example: string) =>
  Nullable(Type.String({ maxLength: 1000 }), { description, default: null, examples: [example] })
const whole = (description: string, value: number, minimum: number, maximum: number, example = value) =>
  Type.Integer({ description, default: value, minimum, maximum, examples: [example] })
const decimal = (description: string, value: number, minimum: number, maximum: number, example = value) =>
  Type.Number({ description, default: value, minimum, maximum, examples: [example] })
const flag = (description: string, value: boolean) =>
  Type.Boolean({ description, default: value, examples: [value] })
const perhaps = <Schema extends TSchema>(schema: Schema, description: string, example: unknown) =>
  Nullable(schema, { description, default: null, examples: [example] })

const imageText = { maxLength: 400_000_000 }
const image = (description: string) => perhaps(ImageText(imageText), description, examplePng)
const images = (description: string) =>
  perhaps(Type.Array(ImageText(imageText), { maxItems: 10 }), description, [examplePng])

/** LoRAs as clients list them; `src/a1111/lora-tags` reads every one of these shapes. */
const loras = Nullable(Type.Unknown(), {
  description: 'LoRAs for this request besides those of the session, whose weights they replace: weights by file name, ' +
    'or a list of names or of {filename, weight}.',
  default: null,
  examples: [{ 'detail-tweaker.safetensors': 0.8 }]
})

export const userId = Type.String({
  description: 'Your own name for the user. It means something only together with your access key.',
  minLength: 1,
  maxLength: 200,
  examples: ['discord-1234']
})

export const strict = Type.Boolean({
  description: 'true: reject unknown fields, instead of warning about them.', default: false, examples: [true]
})

const whose = {
  ...webhookFields,
  user_id: userId,
  preset_id: perhaps(Type.String({ maxLength: 64 }), 'A preset, by its id or its share code: its values hold where ' +
    'this request says nothing.', '2b1d6f0e-6c2a-4c57-9a63-6f3f9e8f4c11'),
  server: name('Alias of the server that is to run it; the best one without.', 'Main'),
  strict
}

/** Fields of every generation. */
const base = {
  ...whose,
  prompt: Type.String({ description: 'The prompt. Can be empty.', maxLength: 100_000, examples: ['a lighthouse at dusk'] }),
  negative_prompt: text('What to keep out of the picture.', '', 'blurry'),
  checkpoint: name('Checkpoint by title, file name, model name or hash; the server\'s own without.', 'dreamscape-v8'),
  vae: name('VAE by name.', 'Automatic'),
  sampler_name: text('Sampler, with or without a scheduler behind it.', 'DPM++ 2M Karras'),
  scheduler: name('Noise schedule.', 'Karras'),
  steps: whole('Sampling steps.', 20, 1, 150),
  cfg_scale: decimal('How closely the prompt is followed.', 7, 1, 30),
  width: whole('Width in pixels, cut down to a multiple of 8.', 512, 64, 2048),
  height: whole('Height in pixels, cut down to a multiple of 8.', 512, 64, 2048),
  batch_count: whole('Batches generated one after another.', 1, 1, 10),
  batch_size: whole('Images generated at the same time.', 1, 1, 4),
  seed: SeedNumber('Seed of the random numbers, up to 18446744073709551615; -1 chooses one.', { default: -1, minimum: -1, examples: [-1] }),
  enable_hr: flag('Hires fix: generate small, upscale, refine.', false),
  hr_scale: decimal('Enlargement of hires fix.', 2, 1, 4),
  hr_upscaler: name('Upscaler of hires fix.', 'Latent'),
  hr_second_pass_steps: whole('Steps of the second pass; 0: as many as the first.', 0, 0, 150),
  denoising_strength: decimal('How much changes in hires fix and with a start image: 0 nothing, 1 everything.', 0.7, 0, 1),
  clip_skip: perhaps(Type.Integer({ minimum: 1, maximum: 12 }), 'Layers of CLIP left out, counted from the end, plus 1.', 2),
  restore_faces: perhaps(Type.Boolean(), 'Run face restoration on the result.', false),
  tiling: perhaps(Type.Boolean(), 'Make the picture tile.', false),
  loras,
  override_settings: perhaps(Type.Record(Type.String(), Type.Unknown()),
    'Server settings for this job only.', { CLIP_stop_at_last_layers: 2 }),
  alwayson_scripts: perhaps(Type.Record(Type.String(), Type.Unknown()),
    'Arguments of any other extension\'s always-on script, by its title.', {}),
  script_name: name('Title of one selectable script of the server.', 'Loopback'),
  script_args: perhaps(Type.Array(Type.Unknown()), 'Arguments of that script, by position.', [4, 0.5])
}

/** Further fields that are passed on under A1111's own names. */
export const passedOn = [
  'scheduler', 'clip_skip', 'restore_faces', 'tiling', 'override_settings', 'alwayson_scripts', 'script_name',
  'script_args'
] as const

const advanced = {
  ensd: perhaps(SeedNumber('', { minimum: 0 }), 'Eta noise seed delta.', 31337),
  eta_noise_seed_delta: perhaps(SeedNumber('', { minimum: 0 }), 'The same under A1111\'s name.', 0),
  eta: perhaps(Type.Number({ minimum: 0, maximum: 1 }), 'Noise multiplier of ancestral and DDIM samplers.', 0),
  s_churn: perhaps(Type.Number({ minimum: 0 }), 'Stochasticity of samplers that know it.', 0),
  s_tmin: perhaps(Type.Number({ minimum: 0 }), 'Sigma below which there is no churn.', 0),
  s_tmax: perhaps(Type.Number({ minimum: 0 }), 'Sigma above which there is no churn.', 0),
  s_noise: perhaps(Type.Number({ minimum: 0 }), 'Noise added by churn.', 1),
  subseed: perhaps(SeedNumber('', { minimum: -1 }), 'Seed of the variation.', -1),
  subseed_strength: perhaps(Type.Number({ minimum: 0, maximum: 1 }), 'Share of the variation seed.', 0.1),
  styles: perhaps(Type.Array(Type.String()), 'Names of prompt styles stored at the server.', [])
}

/** Those of them that are parameters of their own at the server. */
export const advancedPassedOn = [
  'eta', 's_churn', 's_tmin', 's_tmax', 's_noise', 'subseed', 'subseed_strength', 'styles'
] as const

/** One ControlNet unit in the words of this interface. */
export const BotControlNetUnit = WithDefaults({
  enabled: flag('Whether the unit does anything.', true),
  model: Type.String({ description: 'ControlNet model, with or without its hash.', maxLength: 1000, examples: ['control_v11p_sd15_canny'] }),
  preprocessor: name('Preprocessor for the control map; none uses the image itself.', 'canny'),
  image: image('The unit\'s own image; the request\'s without.'),
  mask: image('Mask of the unit, for inpaint preprocessors.'),
  weight: decimal('How strongly it controls.', 1, 0, 2),
  guidance_start: decimal('Share of the steps at which it begins.', 0, 0, 1),
  guidance_end: decimal('Share of the steps at which it ends.', 1, 0, 1),
  processor_res: whole('Resolution of the preprocessor.', 512, 64, 2048),
  threshold_a: perhaps(Type.Number(), 'First threshold of the preprocessor; its own default without.', 100),
  threshold_b: perhaps(Type.Number(), 'Second threshold of the preprocessor; its own default without.', 200),
  control_mode: whole('0 balanced, 1 the prompt is more important, 2 ControlNet is more important.', 0, 0, 2),
  pixel_perfect: flag('Take the resolution from the size of the picture.', false),
  resize_mode: Nullable(Type.Union([Type.Integer({ minimum: 0, maximum: 2 }), Type.String({ maxLength: 40 })]), {
    description: 'How the image is fitted: 0 stretch, 1 crop, 2 fill, or A1111\'s words for it.', default: null, examples: [1]
  })
}, { $id: 'StudioControlNetUnit', description: 'A ControlNet unit.' })
export type BotControlNetUnit = Static<typeof BotControlNetUnit>

const units = Type.Array(Inline(BotControlNetUnit), {
  description: 'Up to ten units. In a form: one part for each, or one part with the list; JSON or Python literals.',
  maxItems: 10,
  examples: [[{ model: 'control_v11p_sd15_canny', preprocessor: 'canny' }]]
})

const controlImages = {
  images: images('Images for the units, in their order.'),
  ...Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`image${index}`, image(`Image of unit ${index}.`)])) as
    Record<`image${number}`, ReturnType<typeof image>>
}

const inpainting = {
  mask_blur: whole('Blur of the mask in pixels.', 4, 0, 64),
  inpainting_fill: whole('Under the mask: 0 fill, 1 original, 2 latent noise, 3 latent nothing.', 1, 0, 3),
  inpaint_full_res: flag('Draw the masked part at full size.', true),
  inpaint_full_res_padding: whole('Pixels around the masked part.', 0, 0, 256),
  inpainting_mask_invert: whole('1 generates everything except the mask.', 0, 0, 1)
}
const resizeMode = whole('How the image is fitted: 0 stretch, 1 crop, 2 fill, 3 latent upscale.', 0, 0, 3)
const ownSize = (side: string) => `${side} in pixels, cut down to a multiple of 8. Default: that of the image, made ` +
  'smaller if it is larger than models generate well.'
const imageSize = {
  width: { ...base.width, description: ownSize('Width') },
  height: { ...base.height, description: ownSize('Height') }
}
/** Fields of every kind of generation. */
const all = { ...base, ...advanced, controlnet_units: { ...units, default: [] } }

export const BotTxt2imgRequest = WithDefaults(all, {
  $id: 'StudioTxt2imgRequest',
  description: 'A picture from words.',
  examples: [{ user_id: 'discord-1234', prompt: 'a lighthouse at dusk', steps: 20, width: 512, height: 512 }]
})
export type BotTxt2imgRequest = Static<typeof BotTxt2imgRequest>

export const BotImg2imgRequest = WithDefaults({
  ...all,
  ...imageSize,
  image: image('The picture to start from. In a form: a file.'),
  mask: image('The white part is generated again.'),
  resize_mode: resizeMode,
  ...inpainting
}, {
  ...needing(['image']),
  $id: 'StudioImg2imgRequest',
  description: 'A picture from a picture.',
  examples: [{ user_id: 'discord-1234', prompt: 'the same in winter', image: examplePng, denoising_strength: 0.5 }]
})
export type BotImg2imgRequest = Static<typeof BotImg2imgRequest>

export const BotInpaintRequest = WithDefaults({ ...BotImg2imgRequest.properties }, {
  ...needing(['image', 'mask']),
  $id: 'StudioInpaintRequest',
  description: 'A part of a picture, generated again.',
  examples: [{ user_id: 'discord-1234', prompt: 'a red door', image: examplePng, mask: examplePng }]
})

const side = (where: string) => whole(`Pixels to add ${where}.`, 0, 0, 512)
export const BotOutpaintRequest = WithDefaults({
  ...all,
  image: image('The picture to widen. In a form: a file.'),
  outpaint_pixels_left: side('on the left'),
  outpaint_pixels_right: { ...side('on the right'), examples: [128] },
  outpaint_pixels_top: side('above'),
  outpaint_pixels_bottom: side('below'),
  mask_blur: { ...inpainting.mask_blur, default: 8 },
  inpainting_fill: inpainting.inpainting_fill
}, {
  ...needing(['image']),
  $id: 'StudioOutpaintRequest',
  description: 'A picture extended beyond its edges. Its size follows from the picture.',
  examples: [{ user_id: 'discord-1234', prompt: 'a wide beach', image: examplePng, outpaint_pixels_right: 128 }]
})
export type BotOutpaintRequest = Static<typeof BotOutpaintRequest>

export const BotControlNetRequest = WithDefaults({
  ...all,
  controlnet_units: units,
  image: image('The control image of every unit that has none of its own. In a form: a file.'),
  mask: image('Mask for inpaint preprocessors.'),
  init_image: image('A picture to start from: makes it img2img.'),
  ...controlImages
}, {
  $id: 'StudioControlNetRequest',
  description: 'A picture that control images guide.',
  examples: [{ user_id: 'discord-1234', prompt: 'a dancer', controlnet_units: [{ model: 'control_v11p_sd15_canny', preprocessor: 'canny' }], image: examplePng }]
})
export type BotControlNetRequest = Static<typeof BotControlNetRequest>

export const BotRegionalRequest = WithDefaults({ ...all, regional_config: RegionalConfig }, {
  $id: 'StudioRegionalRequest',
  description: 'A picture with regions, generated by the extension Regional Prompter.',
  examples: [{
    user_id: 'discord-1234',
    prompt: 'masterpiece',
    regional_config: {
      layout: 'three_columns',
      common_prompt: 'fantasy tavern scene',
      region1_prompt: 'knight in armor drinking',
      region2_prompt: 'fireplace with warm lighting',
      region3_prompt: 'bard playing lute'
    }
  }]
})
export type BotRegionalRequest = Static<typeof BotRegionalRequest>

/** Of a finished image: sent along, or one of a job's. */
const finished = {
  ...whose,
  image: image('The picture. In a form: a file.'),
  job_id: name('Or the job whose pictures are meant.', '1cfd52d6-8961-47fc-b387-c195c6568e62'),
  image_index: perhaps(Type.Integer({ minimum: 0 }), 'Which of the job\'s pictures; all of them without.', 0)
}
const faceFields = {
  gfpgan_visibility: decimal('How much GFPGAN restores faces.', 0, 0, 1),
  codeformer_visibility: decimal('How much CodeFormer restores faces.', 0, 0, 1),
  codeformer_weight: decimal('0: most restored, 1: closest to the picture.', 0, 0, 1)
}

export const BotUpscaleRequest = WithDefaults({
  ...finished,
  upscaler: name('Upscaler; the best usual one that the server has without.', 'R-ESRGAN 4x+'),
  scale: decimal('How many times larger.', 2, 1, 8),
  width: perhaps(Type.Integer({ minimum: 1, maximum: 16_384 }), 'Width instead of a scale, together with the height.', 1024),
  height: perhaps(Type.Integer({ minimum: 1, maximum: 16_384 }), 'Height instead of a scale.', 1024),
  crop: flag('Cut off what does not fit width and height.', true),
  upscaler_2: name('A second upscaler to be mixed in.', 'Lanczos'),
  upscaler_2_visibility: decimal('How much of it.', 0, 0, 1),
  restore_faces: perhaps(Type.Boolean(), 'Restore faces by CodeFormer.', false),
  ...faceFields
}, {
  ...needing(['image'], ['job_id']),
  $id: 'StudioUpscaleRequest',
  description: 'Finished pictures to enlarge.',
  examples: [{ user_id: 'discord-1234', image: examplePng, scale: 2 }]
})
export type BotUpscaleRequest = Static<typeof BotUpscaleRequest>

export const BotFaceRestoreRequest = WithDefaults({
  ...finished,
  ...faceFields,
  codeformer_visibility: { ...faceFields.codeformer_visibility, default: 1 }
}, {
  ...needing(['image'], ['job_id']),
  $id: 'StudioFaceRestoreRequest',
  description: 'Finished pictures whose faces are to be restored.',
  examples: [{ user_id: 'discord-1234', image: examplePng }]
})
export type BotFaceRestoreRequest = Static<typeof BotFaceRestoreRequest>
