/** The Forge extension's parameters for its known fields, in its own order. */
export const forgeExtensionParameters = {
  positive_prompt: 'A beautiful landscape',
  negative_prompt: 'blurry',
  width: 64,
  height: 64,
  steps: 2,
  cfg_scale: 7.0,
  sampler_name: 'Euler',
  seed: -1,
  batch_size: 1,
  n_iter: 1,
  restore_faces: false,
  checkpoint_name: '',
  enable_hr: false,
  hr_scale: 2.0,
  hr_upscaler: 'Latent',
  denoising_strength: 0.7
}

/** Fields that webuiapi sends by default. */
export const webuiapiDefaults = {
  styles: [],
  seed: -1,
  subseed: -1,
  subseed_strength: 0,
  seed_resize_from_h: 0,
  seed_resize_from_w: 0,
  batch_size: 1,
  n_iter: 1,
  steps: 20,
  cfg_scale: 7,
  width: 512,
  height: 512,
  restore_faces: false,
  tiling: false,
  do_not_save_samples: false,
  do_not_save_grid: false,
  negative_prompt: '',
  eta: 1,
  s_churn: 0,
  s_tmax: 0,
  s_tmin: 0,
  s_noise: 1,
  override_settings: {},
  override_settings_restore_afterwards: true,
  sampler_name: 'Euler a',
  scheduler: 'automatic',
  sampler_index: 'Euler a',
  script_name: null,
  script_args: [],
  send_images: true,
  save_images: false,
  alwayson_scripts: {}
}

/** The fields of A1111's second pass with its defaults. */
export const secondPass = {
  enable_hr: false,
  hr_scale: 2,
  hr_upscaler: 'Latent',
  hr_second_pass_steps: 0,
  hr_resize_x: 0,
  hr_resize_y: 0,
  hr_checkpoint_name: null,
  hr_sampler_name: null,
  hr_scheduler: null,
  hr_prompt: '',
  hr_negative_prompt: ''
}

/** A txt2img of webuiapi: every field, most of them at their defaults. */
export const webuiapiTxt2img = (more: Readonly<Record<string, unknown>>) => ({
  ...secondPass,
  denoising_strength: 0.7,
  firstphase_width: 0,
  firstphase_height: 0,
  ...webuiapiDefaults,
  ...more
})
