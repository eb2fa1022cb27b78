import type { A1111ParameterName, A1111Parameters } from '../../schemas/generation-parameters.ts'
import { definedOnly, picked } from './field-values.ts'
import { extrasPayload } from './extras.ts'
import { sdcppPayload } from './payload-sdcpp.ts'
import { dialectOf, type GenerationMode, type ServerTraits } from './types.ts'

export interface PayloadParts {
  readonly mode: GenerationMode
  /** As admitted for this server, images as base64. */
  readonly parameters: Readonly<Record<string, unknown>>
  /** The server's own exact title; null sends none, so the server takes what it has selected. */
  readonly checkpointTitle: string | null
  /** Our job id; `/internal/progress` and A1111's queue know the generation by it. */
  readonly taskId: string
  /** Null while nothing is known of the server: it is then taken for an A1111. */
  readonly traits: Pick<ServerTraits, 'kind' | 'simulates'> | null
}

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
const forge: readonly A1111ParameterName[] = ['distilled_cfg_scale']
const forgeHires: readonly A1111ParameterName[] = ['hr_cfg', 'hr_distilled_cfg', 'hr_additional_modules']

/** The object to POST to `/sdapi/v1/<mode>`: nothing in it that the server does not know. */
export function buildPayload (parts: PayloadParts): Record<string, unknown> {
  const parameters = parts.parameters as A1111Parameters
  if (parts.mode === 'extras') return extrasPayload(parameters)
  const dialect = parts.traits === null ? 'a1111' : dialectOf(parts.traits)
  if (dialect === 'sdcpp') return sdcppPayload(parts.mode, parameters)
  const isForge = dialect === 'forge'
  const ofMode = parts.mode === 'img2img' ? img2img : parameters.enable_hr === true ? hires : []
  return {
    ...picked(parameters, [...everywhere, ...ofMode]),
    ...(isForge ? forgeFields(parts.mode, parameters) : {}),
    ...overrides(parameters.override_settings ?? {}, parts.checkpointTitle, isForge),
    force_task_id: parts.taskId,
    send_images: true,
    // the server's own copies would fill its disk, and switching them on puts a grid before the images
    save_images: false
  }
}

/** Forge fails on hires fix without modules, and its second pass otherwise runs at CFG 1. */
function forgeFields (mode: GenerationMode, parameters: A1111Parameters): Record<string, unknown> {
  const fields = picked(parameters, forge)
  if (mode === 'img2img' || parameters.enable_hr !== true) return fields
  const { cfg_scale: cfg, distilled_cfg_scale: distilled } = parameters
  const usual = definedOnly<unknown>({ hr_cfg: cfg, hr_distilled_cfg: distilled, hr_additional_modules: ['Use same choices'] })
  return { ...fields, ...usual, ...picked(parameters, forgeHires) }
}

/**
 * The checkpoint goes with the request, never through `/options`, which would change it under a running job.
 * It stays selected afterwards: restoring would only change the selection back, not the loaded model, so that
 * somebody else's next request without a checkpoint had to load another one. Any other setting must not outlive
 * the job (clip skip 2 would spoil the next job's pictures), so with one the server is told to restore; our next
 * job names its checkpoint anyway.
 */
function overrides (settings: Readonly<Record<string, unknown>>, title: string | null, isForge: boolean) {
  const own = isForge ? forgeSettings(settings) : a1111Settings(settings)
  const all = title === null ? own : { ...own, sd_model_checkpoint: title }
  if (Object.keys(all).length === 0) return {}
  return { override_settings: all, override_settings_restore_afterwards: Object.keys(own).length > 0 }
}

/** A1111 answers 500 to settings that it does not have. */
function a1111Settings (settings: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(settings).filter(([name]) => !name.startsWith('forge_')))
}

/** Forge keeps the VAE in a list together with text encoders; an empty list takes the ones inside the checkpoint. */
function forgeSettings ({ sd_vae: vae, ...settings }: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (vae === undefined || settings.forge_additional_modules !== undefined) return settings
  const inside = vae === 'Automatic' || vae === 'None'
  return { ...settings, forge_additional_modules: inside ? [] : [vae] }
}
