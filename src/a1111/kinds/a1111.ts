import type { A1111ParameterName } from '../../../schemas/generation-parameters.ts'
import { picked } from '../field-values.ts'
import type { ServerKindRules } from './kind.ts'

const everywhere: readonly A1111ParameterName[] = [
  'prompt', 'negative_prompt', 'styles', 'seed', 'subseed', 'subseed_strength', 'seed_resize_from_h', 'seed_resize_from_w',
  'sampler_name', 'scheduler', 'batch_size', 'n_iter', 'steps', 'cfg_scale', 'width', 'height', 'restore_faces', 'tiling',
  'denoising_strength', 'eta', 's_min_uncond', 's_churn', 's_tmin', 's_tmax', 's_noise', 'refiner_checkpoint',
  'refiner_switch_at', 'disable_extra_networks', 'firstpass_image', 'comments', 'script_name', 'script_args',
  'alwayson_scripts'
]
const hires: readonly A1111ParameterName[] = [
  'enable_hr', 'firstphase_width', 'firstphase_height', 'hr_scale', 'hr_upscaler', 'hr_second_pass_steps', 'hr_resize_x',
  'hr_resize_y', 'hr_checkpoint_name', 'hr_sampler_name', 'hr_scheduler', 'hr_prompt', 'hr_negative_prompt'
]
const img2img: readonly A1111ParameterName[] = [
  'init_images', 'resize_mode', 'image_cfg_scale', 'mask', 'mask_blur', 'mask_blur_x', 'mask_blur_y', 'mask_round',
  'inpainting_fill', 'inpaint_full_res', 'inpaint_full_res_padding', 'inpainting_mask_invert',
  'initial_noise_multiplier', 'latent_mask'
]

/** AUTOMATIC1111's own web UI, 1.10 and before; what answers like none of the others is taken for one. */
export const a1111: ServerKindRules = {
  isSeenIn: () => true,
  requestFields (mode, parameters) {
    const ofMode = mode === 'img2img' ? img2img : parameters.enable_hr === true ? hires : []
    return picked(parameters, [...everywhere, ...ofMode])
  },
  // A1111 answers 500 to settings that it does not have.
  overrideSettings: settings =>
    Object.fromEntries(Object.entries(settings).filter(([name]) => !name.startsWith('forge_'))),
  requestModel: 'a1111',
  restoresOverrides: 'saved',
  offersExtras: true,
  listsModules: false,
  vaeRoutes: ['/sdapi/v1/sd-vae', '/sdapi/v1/sd-modules'],
  loraName: ({ name }) => name,
  // A1111 takes both and shows labels.
  schedulerName: ({ name, label }) => label === '' ? name : label,
  defaultSampler: 'Euler a',
  // Its built-in extension for LoRAs adds them; before, scripts have no default arguments.
  mountedLast: ['loras'],
  // it lists every file in the folder, and fails at others (guess_model_config_from_state_dict)
  families: ['SD 1', 'SD 2', 'SDXL', 'SD 3'],
  defaults: {},
  takesSchedulers: true,
  looks: { progressMs: 500, stopMs: 250, previewMs: 900 },
  emptyAnswer: 'The server answered without any image; another user has possibly interrupted the generation before it started.',
  dividesLatents: true
}
