import type { Seed } from '../lib/seeds.ts'
import { optional, strict, type Model } from '../fastapi/model.ts'

export type Mode = 'txt2img' | 'img2img'

/** A generation request once it was read as A1111's model of it; every field is there. */
export interface GenerationRequest {
  prompt: string | null
  negative_prompt: string | null
  styles: string[] | null
  seed: Seed | null
  subseed: Seed | null
  subseed_strength: number | null
  seed_resize_from_h: number | null
  seed_resize_from_w: number | null
  sampler_name: string | null
  scheduler: string | null
  batch_size: number
  n_iter: number
  steps: number
  cfg_scale: number
  width: number
  height: number
  restore_faces: boolean | null
  tiling: boolean | null
  denoising_strength: number | null
  override_settings: Record<string, unknown> | null
  override_settings_restore_afterwards: boolean | null
  refiner_checkpoint: string | null
  refiner_switch_at: number | null
  enable_hr?: boolean | null
  hr_scale?: number | null
  hr_upscaler?: string | null
  hr_second_pass_steps?: number | null
  hr_resize_x?: number | null
  hr_resize_y?: number | null
  hr_checkpoint_name?: string | null
  hr_sampler_name?: string | null
  hr_scheduler?: string | null
  hr_prompt?: string | null
  hr_negative_prompt?: string | null
  hr_additional_modules?: unknown[] | null
  init_images?: unknown[] | null
  resize_mode?: number | null
  mask?: string | null
  mask_blur?: number | null
  mask_blur_x?: number | null
  inpainting_fill?: number | null
  inpaint_full_res?: boolean | null
  inpaint_full_res_padding?: number | null
  inpainting_mask_invert?: number | null
  include_init_images?: boolean | null
  force_task_id: string | null
  sampler_index: string
  script_name: string | null
  script_args: unknown[]
  send_images: boolean
  save_images: boolean
  alwayson_scripts: Record<string, unknown>
  infotext: string | null
}

/** In the order in which the answer's `parameters` list them. */
const commonFields: Model = {
  prompt: optional('string', ''),
  negative_prompt: optional('string', ''),
  styles: optional('strings'),
  seed: optional('integer', -1),
  subseed: optional('integer', -1),
  subseed_strength: { ...optional('number', 0), isFallbackWhole: true },
  seed_resize_from_h: optional('integer', -1),
  seed_resize_from_w: optional('integer', -1),
  sampler_name: optional('string'),
  scheduler: optional('string'),
  batch_size: optional('integer', 1),
  n_iter: optional('integer', 1),
  steps: optional('integer', 50),
  cfg_scale: optional('number', 7),
  width: optional('integer', 512),
  height: optional('integer', 512),
  restore_faces: optional('boolean'),
  tiling: optional('boolean'),
  do_not_save_samples: optional('boolean', false),
  do_not_save_grid: optional('boolean', false),
  eta: optional('number'),
  denoising_strength: optional('number'),
  s_min_uncond: optional('number'),
  s_churn: optional('number'),
  s_tmax: optional('number'),
  s_tmin: optional('number'),
  s_noise: optional('number'),
  override_settings: optional('object'),
  override_settings_restore_afterwards: optional('boolean', true),
  refiner_checkpoint: optional('string'),
  refiner_switch_at: optional('number'),
  disable_extra_networks: optional('boolean', false),
  firstpass_image: optional('string'),
  comments: optional('object')
}

const hiresFields: Model = {
  enable_hr: optional('boolean', false),
  firstphase_width: optional('integer', 0),
  firstphase_height: optional('integer', 0),
  hr_scale: optional('number', 2),
  hr_upscaler: optional('string'),
  hr_second_pass_steps: optional('integer', 0),
  hr_resize_x: optional('integer', 0),
  hr_resize_y: optional('integer', 0),
  hr_checkpoint_name: optional('string'),
  hr_sampler_name: optional('string'),
  hr_scheduler: optional('string'),
  hr_prompt: optional('string', ''),
  hr_negative_prompt: optional('string', '')
}

const imageFields: Model = {
  init_images: optional('list'),
  resize_mode: optional('integer', 0),
  image_cfg_scale: optional('number'),
  mask: optional('string'),
  mask_blur_x: optional('integer', 4),
  mask_blur_y: optional('integer', 4),
  mask_blur: optional('integer'),
  mask_round: optional('boolean', true),
  inpainting_fill: optional('integer', 0),
  inpaint_full_res: optional('boolean', true),
  inpaint_full_res_padding: optional('integer', 0),
  inpainting_mask_invert: optional('integer', 0),
  initial_noise_multiplier: optional('number'),
  latent_mask: optional('string')
}

const apiFields: Model = {
  script_name: optional('string'),
  script_args: strict('list', []),
  send_images: strict('boolean', true),
  save_images: strict('boolean', false),
  alwayson_scripts: strict('object', {}),
  infotext: optional('string')
}

/** Where SD.Next has other defaults. */
const sdnextFields: Model = {
  steps: optional('integer', 20),
  cfg_scale: optional('number', 6),
  width: optional('integer', 1024),
  height: optional('integer', 1024),
  sampler_name: optional('string', 'Default')
}

/** Forge's own fields, each with the one that it follows. */
const forgeFields: Readonly<Record<string, Model>> = {
  cfg_scale: { distilled_cfg_scale: optional('number', 3.5) },
  hr_checkpoint_name: { hr_additional_modules: optional('list') },
  hr_negative_prompt: { hr_cfg: optional('number', 1), hr_distilled_cfg: optional('number', 3.5) },
  force_task_id: { hr_distilled_cfg: optional('number', 3.5) }
}

/** 55 fields for txt2img and 57 for img2img in A1111 1.10.1; Forge adds its own. */
export function generationModel (mode: Mode, flavor: 'a1111' | 'forge' | 'sdnext'): Model {
  const model = a1111Model(mode)
  if (flavor === 'a1111') return model
  if (flavor === 'sdnext') return { ...model, ...sdnextFields }
  return Object.fromEntries(Object.entries(model).flatMap(([name, field]) =>
    [[name, field], ...Object.entries(forgeFields[name] ?? {})]))
}

function a1111Model (mode: Mode): Model {
  const taskFields = { force_task_id: optional('string'), sampler_index: strict('string', 'Euler') }
  if (mode === 'txt2img') return { ...commonFields, ...hiresFields, ...taskFields, ...apiFields }
  return {
    ...commonFields,
    ...imageFields,
    denoising_strength: optional('number', 0.75),
    ...taskFields,
    include_init_images: strict('boolean', false),
    ...apiFields
  }
}
