import { isDeepStrictEqual } from 'node:util'

/** Another value that a setting can have for one small generation without loading or converting anything. */
type Change = (present: unknown) => unknown

const flip: Change = present => present !== true
const other = (one: unknown, instead: unknown): Change => present => isDeepStrictEqual(present, one) ? instead : one

/**
 * Settings that jobs override, and that are changed to see which are restored. Those that load or convert models, need
 * memory or download something are left out: how a server restores does not depend on which setting it is.
 */
const changes: Readonly<Record<string, Change>> = {
  CLIP_stop_at_last_layers: other(2, 1),
  randn_source: other('CPU', 'GPU'),
  eta_noise_seed_delta: other(31_337, 0),
  eta_ddim: other(0.1, 0),
  eta_ancestral: other(0.9, 1),
  s_churn: other(0.1, 0),
  s_noise: other(0.99, 1),
  s_min_uncond: other(0.1, 0),
  comma_padding_backtrack: other(19, 20),
  extra_networks_default_multiplier: other(0.9, 1),
  sdxl_crop_top: other(8, 0),
  sdxl_crop_left: other(8, 0),
  sdxl_refiner_low_aesthetic_score: other(2.4, 2.5),
  sdxl_refiner_high_aesthetic_score: other(5.9, 6),
  skip_early_cond: other(0.1, 0),
  always_discard_next_to_last_sigma: flip,
  uni_pc_order: other(2, 3),
  uni_pc_lower_order_final: flip,
  use_old_karras_scheduler_sigmas: flip,
  no_dpmpp_sde_batch_determinism: flip,
  hires_fix_use_firstpass_conds: flip,
  use_old_hires_fix_width_height: flip,
  refiner_switch_by_sample_steps: flip,
  pad_cond_uncond: flip,
  tiling: flip,
  inpainting_mask_weight: other(0.9, 1),
  initial_noise_multiplier: other(0.99, 1),
  img2img_extra_noise: other(0.1, 0),
  img2img_color_correction: flip,
  img2img_fix_steps: flip
}

/** For each of these settings that the server has: a value that it does not have now. */
export function harmlessChanges (options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(changes)
    .filter(([key]) => options[key] !== undefined && options[key] !== null)
    .map(([key, change]) => [key, change(options[key])]))
}
