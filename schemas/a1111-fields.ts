import { type Static, type StringOptions, type TProperties, type TSchema, Type } from '@sinclair/typebox'
import { SeedNumber } from './kit.ts'

/**
 * The one table of the fields of a generation, in A1111's own names: what a client can send, what a server of which
 * kind gets, and how A1111's own model reads a request. Each row is a schema with facts about the field beside it.
 *
 * A1111 itself judges nearly all numbers only when it generates, so most fields have no bounds: beyond `range`, a value
 * is passed on with a warning.
 */
type Range = readonly [min: number, max: number]

/** What is known of a field besides its schema. */
export interface FieldFacts {
  /** What A1111's own interface offers. */
  readonly range?: Range
  /** What A1111's API takes if a request leaves the field out; null without. */
  readonly fallback?: unknown
  /** The same in img2img, if it differs there. */
  readonly img2imgFallback?: unknown
  /** A number with a fraction whose fallback has none: Python writes it as it is, `0` and not `0.0`. */
  readonly isFallbackWhole?: true
  /** A1111's model refuses null. */
  readonly isStrict?: true
  /** A1111's model checks that each entry of the list is text. */
  readonly hasTexts?: true
  /** Only Forge has it. */
  readonly only?: 'forge'
  /** A1111's model has it directly behind this field, instead of behind the one above. */
  readonly behind?: string
  /** It chooses something of the server by name, and menus have words for "nothing". */
  readonly isChoice?: true
  /** It holds a picture, or a list of them. */
  readonly isImage?: true
}

/** The key of a field's facts: no keyword, which validators would have to know. */
const factsKey = Symbol('facts')

export function factsOf (field: TSchema): FieldFacts {
  return Reflect.get(field, factsKey) as FieldFacts | undefined ?? {}
}

/** Names of the fields whose facts fit. */
export function namesOf<Fields extends TProperties> (
  fields: Fields, fits: (facts: FieldFacts) => boolean
): ReadonlyArray<keyof Fields & string> {
  return Object.keys(fields).filter(name => fits(factsOf((fields as TProperties)[name] as TSchema)))
}

function row<Example> (description: string, example: Example, facts: FieldFacts) {
  const { range } = facts
  const offered = range === undefined ? '' : ` A1111's interface offers ${range[0]} to ${range[1]}.`
  return { description: description + offered, [factsKey]: facts, examples: [example] }
}

export const text = (description: string, example: string, facts: FieldFacts = {}) =>
  Type.Optional(Type.String({ ...row(description, example, facts), maxLength: 100_000 }))
const word = (description: string, example: string, facts: FieldFacts = {}) =>
  Type.Optional(Type.String({ ...row(description, example, facts), maxLength: 1000 }))
/** The name of something that the server has. */
export const choice = (description: string, example: string, facts: FieldFacts = {}) =>
  word(description, example, { isChoice: true, ...facts })
export const whole = (description: string, range: Range, example: number, facts: FieldFacts = {}) =>
  Type.Optional(Type.Integer(row(description, example, { range, ...facts })))
/** A whole number that is refused below this. */
const atLeast = (minimum: number, description: string, range: Range, example: number, facts: FieldFacts) =>
  Type.Optional(Type.Integer({ ...row(description, example, { range, ...facts }), minimum }))
const decimal = (description: string, range: Range | undefined, example: number, facts: FieldFacts = {}) =>
  Type.Optional(Type.Number(row(description, example, range === undefined ? facts : { range, ...facts })))
const flag = (description: string, example: boolean, facts: FieldFacts = {}) =>
  Type.Optional(Type.Boolean(row(description, example, facts)))
const texts = (description: string, example: string[], facts: FieldFacts = {}) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 1000 }), { ...row(description, example, facts), maxItems: 100 }))
const values = (description: string, example: unknown[], facts: FieldFacts = {}) =>
  Type.Optional(Type.Array(Type.Unknown(), { ...row(description, example, facts), maxItems: 1000 }))
export const record = (description: string, example: Record<string, unknown>, facts: FieldFacts = {}) =>
  Type.Optional(Type.Record(Type.String(), Type.Unknown(), row(description, example, facts)))
const seed = (description: string, example: number, facts: FieldFacts) => Type.Optional(SeedNumber(
  `${description} From 0 to 18446744073709551615, as number or text.`, { minimum: -1, ...row('', example, facts) }))

export const examplePng = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='
/** A text on the wire; inside, an image that was uploaded is a reference. */
export const ImageText = (options: StringOptions) =>
  Type.Unsafe<string | { readonly $media: string }>(Type.String({ [factsKey]: { isImage: true }, ...options }))
const Image = ImageText({
  description: 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP as base64 or data URL; no address.', examples: [examplePng]
})
const image = (description: string) =>
  Type.Optional(Type.Unsafe<Static<typeof Image>>({ ...Image, ...row(description, examplePng, { isImage: true }) }))
/** The same field elsewhere in A1111's model. */
const moved = <Field extends TSchema>(field: Field, behind: string) =>
  ({ ...field, [factsKey]: { ...factsOf(field), behind } })

export const commonFields = {
  prompt: text('The prompt; `<lora:name:weight>` adds a LoRA.', 'a lighthouse at dusk', { fallback: '' }),
  negative_prompt: text('What to keep out of the picture.', 'blurry', { fallback: '' }),
  styles: texts('Names of prompt styles stored at the server; unknown ones change nothing.', ['cinematic'], { hasTexts: true }),
  seed: seed('Seed of the random numbers; -1 chooses one at submission.', 1234567890, { fallback: -1 }),
  subseed: seed('Seed of the variation; -1 chooses one if `subseed_strength` is above 0.', 42, { fallback: -1 }),
  subseed_strength: decimal('Share of the variation seed.', [0, 1], 0.1, { fallback: 0, isFallbackWhole: true }),
  seed_resize_from_h: whole('Height whose noise is imitated; -1 or 0 for none.', [-1, 2048], -1, { fallback: -1 }),
  seed_resize_from_w: whole('Width whose noise is imitated; -1 or 0 for none.', [-1, 2048], -1, { fallback: -1 }),
  sampler_name: choice('Sampler; a scheduler can follow as in `DPM++ 2M Karras`. Default: Euler a if the server has it.', 'DPM++ 2M'),
  scheduler: choice('Noise schedule, by name or label.', 'Karras'),
  batch_size: atLeast(1, 'Images generated at the same time.', [1, 8], 1, { fallback: 1 }),
  n_iter: atLeast(1, 'Batches generated one after another.', [1, 100], 1, { fallback: 1 }),
  steps: atLeast(1, 'Sampling steps. Default: 20.', [1, 150], 20, { fallback: 50 }),
  cfg_scale: decimal('How closely the prompt is followed. Default: 7.', [1, 30], 7, { fallback: 7 }),
  distilled_cfg_scale: decimal('Guidance of distilled models such as Flux; Forge only.', [0, 30], 3.5, { fallback: 3.5, only: 'forge' }),
  width: atLeast(8, 'Width in pixels, cut down to a multiple of 8. Default: 512.', [8, 2048], 512, { fallback: 512 }),
  height: atLeast(8, 'Height in pixels, cut down to a multiple of 8. Default: 512.', [8, 2048], 512, { fallback: 512 }),
  restore_faces: flag('Run face restoration on the result.', false),
  tiling: flag('Make the picture tile.', false),
  eta: decimal('Noise multiplier of ancestral and DDIM samplers.', [0, 1], 0),
  s_min_uncond: decimal('Skip the negative prompt below this sigma.', [0, 15], 0),
  s_churn: decimal('Stochasticity of samplers that know it.', [0, 100], 0),
  s_tmin: decimal('Sigma below which there is no churn.', [0, 10], 0, { behind: 's_tmax' }),
  s_tmax: decimal('Sigma above which there is no churn.', undefined, 999),
  s_noise: decimal('Noise added by churn.', [0, 1.1], 1),
  override_settings: record('Server settings for this job only; settings with effects beyond a picture are rejected.', { CLIP_stop_at_last_layers: 2 }),
  refiner_checkpoint: choice('Checkpoint that takes over towards the end.', 'sd_xl_refiner_1.0.safetensors'),
  refiner_switch_at: decimal('Share of the steps after which the refiner takes over.', [0, 1], 0.8),
  disable_extra_networks: flag('Ignore LoRA tags in the prompt.', false, { fallback: false }),
  firstpass_image: image('Picture that replaces the first pass of hires fix.'),
  comments: record('Notes that A1111 writes into the picture.', { project: 'calendar' })
}

export const scriptFields = {
  script_name: choice('Title of one selectable script of the server.', 'x/y/z plot'),
  script_args: values('Arguments of that script, by position.', [1, 'a'], { fallback: [], isStrict: true }),
  alwayson_scripts: record('Arguments of always-on scripts such as ControlNet or ADetailer, by title.', { controlnet: { args: [{ enabled: true, module: 'canny', model: 'control_v11p_sd15_canny [d14c016b]', image: examplePng }] } }, { fallback: {}, isStrict: true })
}

export const denoisingFields = {
  denoising_strength: decimal('How much changes in img2img and in hires fix: 0 nothing, 1 everything. A1111\'s default in img2img is 0.75.', [0, 1], 0.6, { img2imgFallback: 0.75, behind: 'eta' })
}

export const hiresFields = {
  enable_hr: flag('Hires fix: generate small, upscale, refine.', true, { fallback: false }),
  firstphase_width: whole('Width of the first pass, old way; 0 for none.', [0, 2048], 0, { fallback: 0 }),
  firstphase_height: whole('Height of the first pass, old way; 0 for none.', [0, 2048], 0, { fallback: 0 }),
  hr_scale: decimal('Enlargement of hires fix.', [1, 4], 2, { fallback: 2 }),
  hr_upscaler: choice('Upscaler or latent mode of hires fix.', 'R-ESRGAN 4x+'),
  hr_second_pass_steps: whole('Steps of the second pass; 0: as many as the first.', [0, 150], 0, { fallback: 0 }),
  hr_resize_x: whole('Final width instead of a scale; 0 for none.', [0, 2048], 0, { fallback: 0 }),
  hr_resize_y: whole('Final height instead of a scale; 0 for none.', [0, 2048], 0, { fallback: 0 }),
  hr_checkpoint_name: choice('Checkpoint of the second pass.', 'sd_xl_base_1.0.safetensors'),
  hr_sampler_name: choice('Sampler of the second pass.', 'Euler'),
  hr_scheduler: choice('Scheduler of the second pass.', 'Karras'),
  hr_prompt: text('Prompt of the second pass; empty: that of the first.', '', { fallback: '' }),
  hr_negative_prompt: text('Negative prompt of the second pass; empty: that of the first.', '', { fallback: '' }),
  hr_cfg: decimal('CFG scale of the second pass; Forge only. Default: `cfg_scale`.', [1, 30], 7, { fallback: 1, only: 'forge' }),
  hr_distilled_cfg: decimal('Distilled guidance of the second pass; Forge only.', [0, 30], 3.5, { fallback: 3.5, only: 'forge' }),
  hr_additional_modules: texts('VAE and text encoders of the second pass; Forge only.', ['Use same choices'], { only: 'forge', behind: 'hr_checkpoint_name' })
}

export const img2imgFields = {
  init_images: Type.Optional(Type.Array(Image, {
    ...row('Pictures to start from, at most `batch_size`; one is used for the whole batch. Makes the job img2img.', [examplePng], { isImage: true }),
    maxItems: 64
  })),
  resize_mode: whole('0 stretch, 1 crop, 2 fill, 3 latent upscale.', [0, 3], 0, { fallback: 0 }),
  image_cfg_scale: decimal('Guidance by the picture, for instruct-pix2pix models.', [0, 3], 1.5),
  mask: image('The white part is generated again. Needs `init_images`.'),
  mask_blur: whole('Blur of the mask in pixels, both ways.', [0, 64], 4, { behind: 'mask_blur_y' }),
  mask_blur_x: whole('Blur of the mask in pixels, sideways.', [0, 64], 4, { fallback: 4 }),
  mask_blur_y: whole('Blur of the mask in pixels, up and down.', [0, 64], 4, { fallback: 4 }),
  mask_round: flag('Make the mask black and white.', true, { fallback: true }),
  inpainting_fill: whole('Under the mask: 0 fill, 1 original, 2 latent noise, 3 latent nothing.', [0, 3], 1, { fallback: 0 }),
  inpaint_full_res: flag('Draw the masked part at full size.', true, { fallback: true }),
  inpaint_full_res_padding: whole('Pixels around the masked part.', [0, 256], 32, { fallback: 0 }),
  inpainting_mask_invert: whole('1 generates everything except the mask.', [0, 1], 0, { fallback: 0 }),
  initial_noise_multiplier: decimal('Noise multiplier of img2img.', [0, 1.5], 1),
  latent_mask: image('Mask in latent space.')
}

/** What requests to A1111's API have besides; StableQueue decides these itself. */
export const apiFields = {
  sampler_index: word('The same for older clients; `sampler_name` overrides it.', 'Euler',
    { fallback: 'Euler', isStrict: true, behind: 'force_task_id' }),
  send_images: flag('Whether the answer has images. They are kept here in any case.', true,
    { fallback: true, isStrict: true, behind: 'script_args' }),
  save_images: flag('No effect: images are kept here and not at the server, and no grid is added.', false,
    { fallback: false, isStrict: true, behind: 'send_images' }),
  do_not_save_samples: flag('No effect: nothing is kept at the server.', false, { fallback: false, behind: 'tiling' }),
  do_not_save_grid: flag('No effect: no grid is made.', false, { fallback: false, behind: 'do_not_save_samples' }),
  override_settings_restore_afterwards: flag('No effect: settings apply only to this job.', true,
    { fallback: true, behind: 'override_settings' }),
  force_task_id: word('What the caller calls the task, for `/internal/progress`.', 'task(abc)'),
  infotext: text('Generation parameters as A1111 writes them into a picture; they fill missing fields.',
    'Steps: 20, Sampler: Euler a', { behind: 'alwayson_scripts' })
}

/** And those to img2img. */
export const img2imgApiFields = {
  // Forge's model has it for img2img as well.
  hr_distilled_cfg: moved(hiresFields.hr_distilled_cfg, 'force_task_id'),
  include_init_images: flag('Whether `parameters` of the answer repeats the pictures that were sent.', false,
    { fallback: false, isStrict: true, behind: 'sampler_index' })
}
