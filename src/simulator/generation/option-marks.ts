import type { Options } from '../options.ts'
import type { GenerationRequest } from '../../a1111/request-model.ts'

/** Options that appear in an infotext if they differ from the default; in A1111's order. */
const labels: Readonly<Record<string, string>> = {
  CLIP_stop_at_last_layers: 'Clip skip',
  eta_noise_seed_delta: 'ENSD',
  token_merging_ratio: 'Token merging ratio',
  token_merging_ratio_hr: 'Token merging ratio hr',
  randn_source: 'RNG',
  emphasis: 'Emphasis',
  s_min_uncond: 'NGMS',
  s_min_uncond_all: 'NGMS all steps',
  pad_cond_uncond: 'Pad conds',
  eta_ancestral: 'Eta',
  eta_ddim: 'Eta DDIM',
  s_churn: 'Sigma churn',
  s_tmin: 'Sigma tmin',
  s_tmax: 'Sigma tmax',
  s_noise: 'Sigma noise',
  sigma_min: 'Schedule min sigma',
  sigma_max: 'Schedule max sigma',
  rho: 'Schedule rho',
  always_discard_next_to_last_sigma: 'Discard penultimate sigma',
  sgm_noise_multiplier: 'SGM noise multiplier',
  sd_noise_schedule: 'Noise Schedule',
  skip_early_cond: 'Skip Early CFG',
  sd_vae_encode_method: 'VAE Encoder',
  sd_vae_decode_method: 'VAE Decoder',
  initial_noise_multiplier: 'Noise multiplier',
  img2img_extra_noise: 'Extra noise',
  forge_unet_storage_dtype: 'Diffusion in Low Bits'
}

const unmarked: Readonly<Record<string, unknown>> = {
  CLIP_stop_at_last_layers: 1,
  randn_source: 'GPU',
  emphasis: 'Original',
  eta_ancestral: 1,
  s_noise: 1,
  sd_noise_schedule: 'Default',
  sd_vae_encode_method: 'Full',
  sd_vae_decode_method: 'Full',
  initial_noise_multiplier: 1,
  forge_unet_storage_dtype: 'Automatic'
}

/** Infotext entries of the options, and of a request's fields that set one. */
export function optionMarks (options: Options, request: Partial<GenerationRequest>): Record<string, unknown> {
  const field = (key: string): unknown => Object.hasOwn(labels, key) ? Reflect.get(request, key) : undefined
  const marks: Array<[string, unknown]> = Object.entries(labels).map(([key, label]) => {
    const value = field(key) ?? options.get(key)
    return [label, value === (unmarked[key] ?? 0) || value === false ? null : value]
  })
  const vae = options.get('sd_vae')
  const modules = options.get('forge_additional_modules')
  const restoresFaces = request.restore_faces ?? options.get('face_restoration')
  const all: Record<string, unknown> = {
    'Face restoration': restoresFaces === true ? options.get('face_restoration_model') : null,
    VAE: vae === 'Automatic' || vae === 'None' ? null : vae,
    ...Object.fromEntries(marks),
    Tiling: (request.tiling ?? options.get('tiling')) === true ? true : null,
    ...Object.fromEntries((Array.isArray(modules) ? modules : []).map((name: unknown, index) =>
      [`Module ${index + 1}`, String(name).replace(/^.*\//, '').replace(/\.\w+$/, '')]))
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null && value !== undefined))
}
