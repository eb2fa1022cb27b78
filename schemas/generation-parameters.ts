import { type Static, type TProperties, type TSchema, Type } from '@sinclair/typebox'
import { Closed, SeedNumber, success } from './kit.ts'

/**
 * What a generation can be told, in A1111's own field names, and the other spellings that clients use.
 * Ranges stand here only: the service reads them from these schemas.
 *
 * A1111 itself judges nearly all numbers only when it generates, so most fields have no bounds: beyond the range of
 * A1111's own interface, `defaultRange`, a value is passed on with a warning.
 */
type Range = readonly [least: number, most: number]
/** Under what a field keeps its usual range: no keyword, which validators would have to know. */
export const defaultRange = Symbol('usual range')
const usually = (description: string, range: Range, rest: object) =>
  ({ description: `${description} A1111's interface offers ${range[0]} to ${range[1]}.`, [defaultRange]: range, ...rest })
const text = (description: string, example: string) =>
  Type.Optional(Type.String({ description, examples: [example], maxLength: 100_000 }))
/** The name of something that the server has. */
const choice = (description: string, example: string) =>
  Type.Optional(Type.String({ description, examples: [example], maxLength: 1000 }))
const whole = (description: string, usual: Range, example: number, bounds: { readonly minimum?: number } = {}) =>
  Type.Optional(Type.Integer(usually(description, usual, { ...bounds, examples: [example] })))
const decimal = (description: string, usual: Range, example: number) =>
  Type.Optional(Type.Number(usually(description, usual, { examples: [example] })))
/** A number that chooses; other numbers mean nothing to A1111. */
const option = (description: string, range: Range, example: number) =>
  Type.Optional(Type.Integer(usually(description, range, { examples: [example] })))
const flag = (description: string, example = true) => Type.Optional(Type.Boolean({ description, examples: [example] }))
const texts = (description: string, example: string[]) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 1000 }), { description, examples: [example], maxItems: 100 }))
const values = (description: string, example: unknown[]) =>
  Type.Optional(Type.Array(Type.Unknown(), { description, examples: [example], maxItems: 1000 }))
const record = (description: string, example: Record<string, unknown>) =>
  Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description, examples: [example] }))

const examplePng = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
const Image = Type.Unsafe<string | { readonly $media: string }>(Type.String({ description: 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP as base64 or data URL; no address.', examples: [examplePng] }))
const image = (description: string) => Type.Optional(Type.Unsafe<Static<typeof Image>>({ ...Image, description }))

const seed = (description: string, example: number) => Type.Optional(SeedNumber(
  `${description} From 0 to 18446744073709551615, as number or text.`, { minimum: -1, examples: [example] }))

export const commonFields = {
  prompt: text('The prompt; `<lora:name:weight>` adds a LoRA.', 'a lighthouse at dusk'),
  negative_prompt: text('What to keep out of the picture.', 'blurry'),
  styles: texts('Names of prompt styles stored at the server; unknown ones change nothing.', ['cinematic']),
  seed: seed('Seed of the random numbers; -1 chooses one at submission.', 1234567890),
  subseed: seed('Seed of the variation; -1 chooses one if `subseed_strength` is above 0.', 42),
  subseed_strength: decimal('Share of the variation seed.', [0, 1], 0.1),
  seed_resize_from_h: whole('Height whose noise is imitated; -1 or 0 for none.', [-1, 2048], -1),
  seed_resize_from_w: whole('Width whose noise is imitated; -1 or 0 for none.', [-1, 2048], -1),
  sampler_name: choice('Sampler; a scheduler can follow as in `DPM++ 2M Karras`. Default: Euler a if the server has it.', 'DPM++ 2M'),
  scheduler: choice('Noise schedule, by name or label.', 'Karras'),
  batch_size: whole('Images generated at the same time.', [1, 8], 1, { minimum: 1 }),
  n_iter: whole('Batches generated one after another.', [1, 100], 1, { minimum: 1 }),
  steps: whole('Sampling steps. Default: 20.', [1, 150], 20, { minimum: 1 }),
  cfg_scale: decimal('How closely the prompt is followed. Default: 7.', [1, 30], 7),
  distilled_cfg_scale: decimal('Guidance of distilled models such as Flux; Forge only.', [0, 30], 3.5),
  width: whole('Width in pixels, cut down to a multiple of 8. Default: 512.', [8, 2048], 512, { minimum: 8 }),
  height: whole('Height in pixels, cut down to a multiple of 8. Default: 512.', [8, 2048], 512, { minimum: 8 }),
  restore_faces: flag('Run face restoration on the result.', false),
  tiling: flag('Make the picture tile.', false),
  eta: decimal('Noise multiplier of ancestral and DDIM samplers.', [0, 1], 0),
  s_min_uncond: decimal('Skip the negative prompt below this sigma.', [0, 15], 0),
  s_churn: decimal('Stochasticity of samplers that know it.', [0, 100], 0),
  s_tmin: decimal('Sigma below which there is no churn.', [0, 10], 0),
  s_tmax: Type.Optional(Type.Number({ description: 'Sigma above which there is no churn.', examples: [999] })),
  s_noise: decimal('Noise added by churn.', [0, 1.1], 1),
  override_settings: record('Server settings for this job only; settings with effects beyond a picture are rejected.', { CLIP_stop_at_last_layers: 2 }),
  refiner_checkpoint: choice('Checkpoint that takes over towards the end.', 'sd_xl_refiner_1.0.safetensors'),
  refiner_switch_at: decimal('Share of the steps after which the refiner takes over.', [0, 1], 0.8),
  disable_extra_networks: flag('Ignore LoRA tags in the prompt.', false),
  firstpass_image: image('Picture that replaces the first pass of hires fix.'),
  comments: record('Notes that A1111 writes into the picture.', { project: 'calendar' }),
  script_name: choice('Title of one selectable script of the server.', 'x/y/z plot'),
  script_args: values('Arguments of that script, by position.', [1, 'a']),
  alwayson_scripts: record('Arguments of always-on scripts such as ControlNet or ADetailer, by title.', { controlnet: { args: [{ enabled: true, module: 'canny', model: 'control_v11p_sd15_canny [d14c016b]', image: examplePng }] } })
}

export const denoisingFields = {
  denoising_strength: decimal('How much changes in img2img and in hires fix: 0 nothing, 1 everything. A1111\'s default in img2img is 0.75.', [0, 1], 0.6)
}

export const hiresFields = {
  enable_hr: flag('Hires fix: generate small, upscale, refine.'),
  firstphase_width: whole('Width of the first pass, old way; 0 for none.', [0, 2048], 0),
  firstphase_height: whole('Height of the first pass, old way; 0 for none.', [0, 2048], 0),
  hr_scale: decimal('Enlargement of hires fix.', [1, 4], 2),
  hr_upscaler: choice('Upscaler or latent mode of hires fix.', 'R-ESRGAN 4x+'),
  hr_second_pass_steps: whole('Steps of the second pass; 0: as many as the first.', [0, 150], 0),
  hr_resize_x: whole('Final width instead of a scale; 0 for none.', [0, 2048], 0),
  hr_resize_y: whole('Final height instead of a scale; 0 for none.', [0, 2048], 0),
  hr_checkpoint_name: choice('Checkpoint of the second pass.', 'sd_xl_base_1.0.safetensors'),
  hr_sampler_name: choice('Sampler of the second pass.', 'Euler'),
  hr_scheduler: choice('Scheduler of the second pass.', 'Karras'),
  hr_prompt: text('Prompt of the second pass; empty: that of the first.', ''),
  hr_negative_prompt: text('Negative prompt of the second pass; empty: that of the first.', ''),
  hr_cfg: decimal('CFG scale of the second pass; Forge only. Default: `cfg_scale`.', [1, 30], 7),
  hr_distilled_cfg: decimal('Distilled guidance of the second pass; Forge only.', [0, 30], 3.5),
  hr_additional_modules: texts('VAE and text encoders of the second pass; Forge only.', ['Use same choices'])
}

export const img2imgFields = {
  init_images: Type.Optional(Type.Array(Image, { description: 'Pictures to start from, at most `batch_size`; one is used for the whole batch. Makes the job img2img.', examples: [[examplePng]], maxItems: 64 })),
  resize_mode: option('0 stretch, 1 crop, 2 fill, 3 latent upscale.', [0, 3], 0),
  image_cfg_scale: decimal('Guidance by the picture, for instruct-pix2pix models.', [0, 3], 1.5),
  mask: image('The white part is generated again. Needs `init_images`.'),
  mask_blur: whole('Blur of the mask in pixels, both ways.', [0, 64], 4),
  mask_blur_x: whole('Blur of the mask in pixels, sideways.', [0, 64], 4),
  mask_blur_y: whole('Blur of the mask in pixels, up and down.', [0, 64], 4),
  mask_round: flag('Make the mask black and white.'),
  inpainting_fill: option('Under the mask: 0 fill, 1 original, 2 latent noise, 3 latent nothing.', [0, 3], 1),
  inpaint_full_res: flag('Draw the masked part at full size.'),
  inpaint_full_res_padding: whole('Pixels around the masked part.', [0, 256], 32),
  inpainting_mask_invert: option('1 generates everything except the mask.', [0, 1], 0),
  initial_noise_multiplier: decimal('Noise multiplier of img2img.', [0, 1.5], 1),
  latent_mask: image('Mask in latent space.')
}

/** A job's parameters once understood: A1111's own names and types, images as base64 or as references. */
export const A1111Parameters = Type.Object({ ...commonFields, ...denoisingFields, ...hiresFields, ...img2imgFields })
export type A1111Parameters = Static<typeof A1111Parameters>
export type A1111ParameterName = keyof A1111Parameters

/** The same field as clients send it: numbers and flags may be text, everything may be null. */
function asSent (field: TSchema): TSchema {
  const accepted: Readonly<Record<string, readonly string[]>> = {
    integer: ['integer', 'string', 'boolean', 'null'],
    number: ['number', 'string', 'null'],
    boolean: ['boolean', 'string', 'integer', 'null'],
    string: ['string', 'null'],
    array: ['array', 'string', 'null'],
    object: ['object', 'null']
  }
  const types = accepted[String(field.type)]
  return types === undefined ? field : Type.Optional(Type.Unsafe<unknown>({ ...field, type: types }))
}

const spelling = (of: string) => Type.Optional(Type.Unknown({ description: `Another spelling of \`${of}\`.` }))
const decidedHere = () => Type.Optional(Type.Unknown({ description: 'Accepted and ignored: the service decides it.' }))

const otherSpellings = {
  mode: Type.Optional(Type.Unknown({ description: '`txt2img` or `img2img`; without it img2img when `init_images` are there.', examples: ['txt2img'] })),
  type: Type.Optional(Type.Unknown({ description: '`gradio_raw` or `gradio`: the values are in `raw_payload`. Otherwise as `mode`.', examples: ['gradio_raw'] })),
  raw_payload: record('Values of a Gradio form, in `data`.', { data: ['a lighthouse'] }),
  generation_info_raw: text('Generation parameters as A1111 writes them into a picture; explicit fields override them.', 'a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512'),
  infotext: text('Generation parameters as A1111 writes them; they fill missing fields, except the checkpoint.', 'Steps: 20, Sampler: Euler a'),
  checkpoint_name: choice('Checkpoint: title, file name, path, model name or hash. Empty: the one the server has loaded.', 'sd_xl_base_1.0.safetensors'),
  sd_checkpoint: spelling('checkpoint_name'),
  checkpoint: spelling('checkpoint_name'),
  model_hash: choice('Hash of the checkpoint: 10 hexadecimal digits or the whole SHA-256.', '31e35c80fc'),
  checkpoint_hash: spelling('model_hash'),
  autov2_hash: spelling('model_hash'),
  sha256_hash: spelling('model_hash'),
  positive_prompt: spelling('prompt'),
  num_images: spelling('n_iter'),
  batch_count: spelling('n_iter'),
  enable_hires_fix: spelling('enable_hr'),
  upscaler_model: spelling('hr_upscaler'),
  refiner_model: spelling('refiner_checkpoint'),
  sampler: spelling('sampler_name'),
  sampler_index: spelling('sampler_name'),
  clip_skip: whole('Layers of CLIP left out, counted from the end, plus 1.', [1, 12], 2),
  vae: choice('VAE by name, `Automatic` or `None`.', 'vae-ft-mse-840000-ema-pruned.safetensors'),
  loras: Type.Optional(Type.Unknown({ description: 'LoRAs added to the prompt: names, `{name, weight}` objects, or one object of weights by name.', examples: [[{ name: 'detail', weight: 0.8 }]] })),
  lora: spelling('loras'),
  scheduler_or_quality_preset: choice('Taken as scheduler when the server has one of that name, else ignored.', 'Karras'),
  sampling_category: choice('Taken as sampler when the server has one of that name, else ignored.', 'Euler a'),
  style_preset: choice('Taken as style when the server has one of that name, else ignored.', 'cinematic'),
  send_images: decidedHere(),
  save_images: decidedHere(),
  do_not_save_samples: decidedHere(),
  do_not_save_grid: decidedHere(),
  include_init_images: decidedHere(),
  override_settings_restore_afterwards: decidedHere(),
  force_task_id: decidedHere()
}

/** Fields as clients send them. */
export function fieldsAsSent (fields: TProperties): TProperties {
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, asSent(field)]))
}

/** What clients may send as parameters of a generation. Unknown fields are accepted and left out with a warning. */
export const GenerationParameters = Type.Object(fieldsAsSent({ ...A1111Parameters.properties, ...otherSpellings }), {
  $id: 'GenerationParameters',
  additionalProperties: true,
  description: 'All parameters of A1111 and Forge for txt2img and img2img, and their other spellings.',
  examples: [{ prompt: 'a lighthouse at dusk', steps: 20, width: 512, height: 512, seed: -1 }]
})
export type GenerationParameters = Readonly<Record<string, unknown>>

/** Something that the caller should know although the job goes on. */
export const Warning = Type.Object({
  code: Type.String({ description: 'Stable word for programs.', examples: ['size_rounded'] }),
  message: Type.String({ description: 'The same as a sentence.' }),
  field: Type.Optional(Type.String({ description: 'The field it is about, in dotted form.' }))
}, { $id: 'Warning', description: 'Something to know.' })
export type Warning = Static<typeof Warning>

export const ParametersToRead = Closed({
  image: Type.Optional(Type.String({
    description: 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP as base64 or data URL.',
    examples: ['iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==']
  })),
  text: Type.Optional(Type.String({
    maxLength: 100_000,
    description: 'Generation parameters as A1111 writes them, or the JSON of another program.',
    examples: ['a lighthouse\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512']
  }))
}, {
  $id: 'ParametersToRead', description: 'A picture or a text; one of them.', examples: [{ text: 'a lighthouse\nSteps: 20, Sampler: Euler a' }]
})
export type ParametersToRead = Static<typeof ParametersToRead>

export const ReadParameters = Type.Object({
  success,
  text: Type.String({ description: 'The text in A1111\'s form; empty if a picture has no readable one.' }),
  source: Type.Optional(Type.String({
    description: 'Program that wrote it: A1111 (and its kin), ComfyUI, Fooocus, InvokeAI, NovelAI or SwarmUI.', examples: ['A1111']
  })),
  notes: Type.Optional(Type.Array(Type.String(), {
    description: 'What could not be read or has no counterpart here, each in a sentence.'
  })),
  generation_params: Type.Record(Type.String(), Type.Unknown(), {
    description: 'The same as fields of a submission, values as text; empty where there is nothing.'
  })
}, { $id: 'ReadParameters', description: 'What a picture was made from.' })
