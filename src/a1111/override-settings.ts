import { ServiceError } from '../errors.ts'
import { invalidField, isRecord, isUnset, readValue, type FieldRule, type FieldRules } from './field-values.ts'
import { nearest } from './nearest.ts'
import { largestSeed } from './seeds.ts'

const text: FieldRule = { kind: 'string', longest: 500 }
const flag: FieldRule = { kind: 'boolean' }
const whole = (minimum: number, maximum: number): FieldRule => ({ kind: 'integer', minimum, maximum })
const decimal = (minimum: number, maximum: number): FieldRule => ({ kind: 'number', minimum, maximum })

/**
 * The settings of a server that a job may change for itself. A1111 applies whatever it is given (an unknown name
 * is a 500, a wrong type one later), and among its settings are folders to write into and switches of its own
 * protection; so only those are let through whose effect ends with the picture. The checkpoint is not among
 * them because it is kept apart and always sent.
 */
export const overrideRules: FieldRules = new Map<string, FieldRule>(Object.entries({
  // models
  sd_vae: text,
  sd_unet: text,
  face_restoration: flag,
  face_restoration_model: text,
  code_former_weight: decimal(0, 1),
  upscaler_for_img2img: text,
  forge_additional_modules: { kind: 'array', longest: 16 },
  forge_unet_storage_dtype: text,
  forge_inference_memory: decimal(0, 1_000_000),
  forge_preset: text,
  // prompt
  CLIP_stop_at_last_layers: whole(1, 12),
  sdxl_clip_l_skip: flag,
  sd3_enable_t5: flag,
  emphasis: text,
  use_old_emphasis_implementation: flag,
  comma_padding_backtrack: whole(0, 74),
  extra_networks_default_multiplier: decimal(0, 2),
  sdxl_crop_top: whole(0, 4096),
  sdxl_crop_left: whole(0, 4096),
  sdxl_refiner_low_aesthetic_score: decimal(0, 10),
  sdxl_refiner_high_aesthetic_score: decimal(0, 10),
  // noise and sampling
  randn_source: text,
  enable_batch_seeds: flag,
  eta_noise_seed_delta: { kind: 'seed', minimum: 0, maximum: largestSeed },
  eta_ddim: decimal(0, 1),
  eta_ancestral: decimal(0, 1),
  ddim_discretize: text,
  s_churn: decimal(0, 100),
  s_tmin: decimal(0, 1000),
  s_tmax: decimal(0, 1_000_000),
  s_noise: decimal(0, 2),
  s_min_uncond: decimal(0, 15),
  s_min_uncond_all: flag,
  sigma_min: decimal(0, 100),
  sigma_max: decimal(0, 1000),
  rho: decimal(0, 100),
  skip_early_cond: decimal(0, 1),
  beta_dist_alpha: decimal(0, 2),
  beta_dist_beta: decimal(0, 2),
  always_discard_next_to_last_sigma: flag,
  sgm_noise_multiplier: flag,
  uni_pc_variant: text,
  uni_pc_skip_type: text,
  uni_pc_order: whole(1, 50),
  uni_pc_lower_order_final: flag,
  sd_noise_schedule: text,
  use_downcasted_alpha_bar: flag,
  use_old_karras_scheduler_sigmas: flag,
  use_old_scheduling: flag,
  use_old_hires_fix_width_height: flag,
  no_dpmpp_sde_batch_determinism: flag,
  refiner_switch_by_sample_steps: flag,
  hires_fix_refiner_pass: text,
  hires_fix_use_firstpass_conds: flag,
  // precision and speed
  upcast_attn: flag,
  auto_vae_precision: flag,
  token_merging_ratio: decimal(0, 1),
  token_merging_ratio_img2img: decimal(0, 1),
  token_merging_ratio_hr: decimal(0, 1),
  pad_cond_uncond: flag,
  pad_cond_uncond_v0: flag,
  batch_cond_uncond: flag,
  sd_vae_encode_method: text,
  sd_vae_decode_method: text,
  ESRGAN_tile: whole(0, 512),
  ESRGAN_tile_overlap: whole(0, 48),
  DAT_tile: whole(0, 512),
  DAT_tile_overlap: whole(0, 48),
  // img2img and the like
  tiling: flag,
  inpainting_mask_weight: decimal(0, 1),
  initial_noise_multiplier: decimal(0, 2),
  img2img_extra_noise: decimal(0, 1),
  img2img_color_correction: flag,
  img2img_fix_steps: flag,
  img2img_background_color: text,
  overlay_inpaint: flag,
  return_mask: flag,
  return_mask_composite: flag
} satisfies Record<string, FieldRule>))

/** Whether a job may set this setting of its server. */
export function isOverrideAllowed (name: string): boolean {
  return overrideRules.has(name)
}

/**
 * A job's changes of server settings, read and checked; unset ones are left out.
 * @throws ServiceError `unsupported_parameter` for a setting that jobs may not change, `invalid_field_value`
 */
export function readOverrideSettings (given: unknown): Record<string, unknown> {
  if (isUnset(given)) return {}
  if (!isRecord(given)) throw invalidField('override_settings', 'override_settings must be an object of server settings.')
  const read: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) {
    const field = `override_settings.${name}`
    const rule = overrideRules.get(name)
    if (rule === undefined) throw refused(name, field)
    if (!isUnset(value)) read[name] = readValue(field, value, rule)
  }
  return read
}

const aboutFiles = /^(save_|samples_|grid_|outdir_|directories_|temp_dir|use_save_to_dirs|clean_temp_dir)/

/** Whether a setting is about what the server writes to its own disk. */
export function isFileSetting (name: string): boolean {
  return aboutFiles.test(name)
}

function refused (name: string, field: string): ServiceError {
  const why = isFileSetting(name)
    ? 'it decides what the server writes to its disk'
    : 'it is not among the settings whose effect ends with this job'
  return new ServiceError('unsupported_parameter', `The server setting ${name} cannot be changed by a job: ${why}.`,
    { field, nearest: nearest(name, [...overrideRules.keys()]) })
}
