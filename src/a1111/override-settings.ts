import type { Warning } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import {
  invalidField, isRecord, isUnset, readValue, warningOfRange, withoutBounds, type FieldRule, type FieldRules
} from './field-values.ts'
import { nearest } from './names.ts'
import { largestSeed, lowestTorchSeed } from '../lib/seeds.ts'

const text: FieldRule = { kind: 'string', longest: 500 }
const flag: FieldRule = { kind: 'boolean' }
/** With the range of A1111's own settings page; the server judges other values. */
const whole = (...usual: [least: number, most: number]): FieldRule => ({ kind: 'integer', usual })
const decimal = (...usual: [least: number, most: number]): FieldRule => ({ kind: 'number', usual })

/**
 * The settings of a server that a job can override. A1111 applies every value (an unknown name causes a 500, a wrong
 * type one later), and its settings include output folders and switches of its own protection; so only settings whose
 * effect is limited to the image are allowed. The checkpoint is not among them because it is stored separately and
 * always sent.
 */
export const overrideRules: FieldRules = new Map<string, FieldRule>(Object.entries({
  // models
  sd_vae: text,
  sd_unet: text,
  sd_hypernetwork: text,
  sd_lora: text,
  sd_vae_overrides_per_model_preferences: flag,
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
  enable_prompt_comments: flag,
  extra_networks_add_text_separator: text,
  lora_functional: flag,
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
  eta_noise_seed_delta: { kind: 'seed', minimum: lowestTorchSeed, maximum: largestSeed },
  eta_ddim: decimal(0, 1),
  eta_ancestral: decimal(0, 1),
  ddim_discretize: text,
  s_churn: decimal(0, 100),
  s_tmin: decimal(0, 1000),
  s_tmax: { kind: 'number' },
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

/** Whether a job can override this setting of its server. */
export function isOverrideAllowed (name: string): boolean {
  return overrideRules.has(name)
}

/**
 * Settings that clients send along but that change no image as overrides: the server's disk, the infotext, grids,
 * previews, its interface, and caches. A1111 reads those of the image's format only after it has restored them.
 */
const withoutEffect = new Set([
  'samples_save', 'samples_format', 'samples_log_stdout', 'grid_save', 'grid_format', 'grid_only_if_multiple',
  'grid_extended_filename', 'grid_prevent_empty_spots', 'return_grid', 'n_rows', 'font', 'do_not_show_images',
  'enable_pnginfo', 'save_txt', 'save_selected_only', 'jpeg_quality', 'webp_lossless', 'export_for_4chan',
  'img_downscale_threshold', 'target_side_length', 'img_max_size_mp', 'add_user_name_to_info', 'show_progressbar',
  'disable_weights_auto_swap', 'multiple_tqdm', 'enable_upscale_progressbar', 'memmon_poll_rate', 'hide_samplers',
  'hide_ldm_prints', 'list_hidden_files', 'persistent_cond_cache', 'sd_checkpoint_cache', 'sd_checkpoints_limit',
  'sd_checkpoints_keep_in_cpu', 'sd_vae_checkpoint_cache', 'sd_checkpoint_hash', 'face_restoration_unload',
  'cross_attention_optimization', 'samplers_in_dropdown', 'dimensions_and_batch_together', 'localization',
  'send_seed', 'send_size', 'filter_nsfw', 'show_warnings', 'print_hypernet_extra', 'compact_prompt_box',
  'interrupt_after_current', 'upscaling_max_images_in_cache'
])
const withoutEffectByName = new RegExp('^(' + [
  'add_(model|vae)_(name|hash)_to_info', 'add_version_to_infotext', '.*_to_infotext', 'infotext_.*', 'show_progress_.*',
  'live_previews?_.*', 'js_.*', 'interrogate_.*', 'deepbooru_.*', 'extra_networks_(?!default_multiplier|add_text).*',
  'ui_.*', 'keyedit_.*', 'canvas_.*', 'training_.*', 'notification_.*', 'gallery_.*', 'gradio_.*', 'hires_fix_show_.*',
  'quicksettings.*', 'postprocessing_.*'
].join('|') + ')$')

function hasNoEffect (name: string): boolean {
  return withoutEffect.has(name) || withoutEffectByName.test(name)
}

/** The most settings of one job that are named one by one. */
const maxNamed = 20

/**
 * A job's changes of server settings, read and checked; unset ones are omitted, and those without effect with a
 * warning.
 * @param judge `server` also omits nearly all settings that a job cannot change, since A1111's clients always send them
 * @throws ServiceError `unsupported_parameter` for a setting that jobs cannot change, `invalid_field_value`
 */
export function readOverrideSettings (
  given: unknown, judge: 'here' | 'server', warn: (warning: Warning) => void
): Record<string, unknown> {
  if (isUnset(given)) return {}
  if (!isRecord(given)) throw invalidField('override_settings', name => `${name} must be an object of server settings.`)
  const read: Record<string, unknown> = {}
  const leftOut: Warning[] = []
  for (const [name, value] of Object.entries(given)) {
    const field = `override_settings.${name}`
    const rule = overrideRules.get(name)
    if (rule === undefined) {
      if (!hasNoEffect(name) && (judge === 'here' || protects.test(name))) throw refused(name, field)
      leftOut.push(ignored(name, field))
    } else if (!isUnset(value)) {
      const known = readValue(field, value, judge === 'server' ? withoutBounds(rule) : rule)
      read[name] = known
      const warning = warningOfRange(field, known, rule)
      if (warning !== null) warn(warning)
    }
  }
  leftOut.slice(0, maxNamed).forEach(warn)
  return read
}

/** Switches of a server's own protection, which no client of its API needs. */
const protects = /^(api_|disable_all_extensions|disabled_extensions|restore_config_state_file|profiling_)/

const aboutFiles = /^(save_|samples_|grid_|outdir_|directories_|temp_dir|use_save_to_dirs|clean_temp_dir)/

function ignored (name: string, field: string): Warning {
  return {
    code: 'override_setting_ignored',
    message: hasNoEffect(name)
      ? `The server setting ${name} changes nothing about a job's result and was left out.`
      : `${refusal(name)} It was left out.`,
    field
  }
}

function refusal (name: string): string {
  const why = aboutFiles.test(name)
    ? 'it decides what the server writes to its disk'
    : 'it is not among the settings whose effect ends with this job'
  return `The server setting ${name.slice(0, 100)} cannot be changed by a job: ${why}.`
}

function refused (name: string, field: string): ServiceError {
  return new ServiceError('unsupported_parameter', refusal(name), { field, nearest: nearest(name, [...overrideRules.keys()]) })
}
