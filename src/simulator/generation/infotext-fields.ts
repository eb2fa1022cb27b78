import { PythonError } from '../failures.ts'
import { pickSampler, samplers, schedulers } from '../lists/samplers.ts'
import type { Options } from '../options.ts'
import { pydantic1 } from '../wire/pydantic1.ts'
import { readModel } from '../wire/read-model.ts'
import { readPastedParameters } from './pasted-parameters.ts'
import { generationModel, type GenerationRequest, type Mode } from './request.ts'

/** Which parameter of an infotext fills which field; the checkpoint is not among them: it stays the current one. */
const labels: Readonly<Record<string, string>> = {
  prompt: 'Prompt',
  negative_prompt: 'Negative prompt',
  cfg_scale: 'CFG scale',
  width: 'Size-1',
  height: 'Size-2',
  batch_size: 'Batch size',
  denoising_strength: 'Denoising strength',
  hr_scale: 'Hires upscale',
  hr_upscaler: 'Hires upscaler',
  hr_second_pass_steps: 'Hires steps',
  hr_resize_x: 'Hires resize-1',
  hr_resize_y: 'Hires resize-2',
  hr_checkpoint_name: 'Hires checkpoint',
  hr_prompt: 'Hires prompt',
  hr_negative_prompt: 'Hires negative prompt'
}

/** Those of A1111's own scripts, which img2img has alone. */
const ofScripts: Readonly<Record<string, string>> = {
  steps: 'Steps',
  seed: 'Seed',
  subseed: 'Variation seed',
  subseed_strength: 'Variation seed strength',
  refiner_switch_at: 'Refiner switch at'
}

const settings: Readonly<Record<string, string>> = {
  'Clip skip': 'CLIP_stop_at_last_layers',
  RNG: 'randn_source',
  ENSD: 'eta_noise_seed_delta',
  VAE: 'sd_vae',
  Tiling: 'tiling',
  'VAE Encoder': 'sd_vae_encode_method',
  'VAE Decoder': 'sd_vae_decode_method',
  'Face restoration': 'face_restoration_model',
  'Token merging ratio': 'token_merging_ratio',
  'Token merging ratio hr': 'token_merging_ratio_hr'
}

/** What an infotext says of a request's fields, as text, by the fields' names. */
function fieldsOf (text: string, mode: Mode): Record<string, unknown> {
  const pasted = readPastedParameters(text)
  const lists = { samplers, schedulers }
  const told = { sampler: String(pasted.Sampler ?? ''), schedule: String(pasted['Schedule type']) }
  const { sampler, schedulerLabel } = pickSampler(lists, told.sampler, told.schedule)
  const isHires = 'Denoising strength' in pasted &&
    ['Hires upscale', 'Hires upscaler'].some(label => label in pasted)
  const ofTxt2img = mode === 'img2img'
    ? {}
    : { enable_hr: isHires, hr_sampler_name: 'Use same sampler', hr_scheduler: sameAs(told.schedule, schedulerLabel) }
  const named = Object.entries(mode === 'img2img' ? ofScripts : { ...labels, ...ofScripts })
    .map(([field, label]) => [field, pasted[label]] as const).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(named), ...ofTxt2img, sampler_name: sampler.name, scheduler: schedulerLabel }
}

function sameAs (told: string, label: string): string {
  return told === label ? 'Use same scheduler' : label
}

/**
 * The request as A1111 reads it once its `infotext` has filled what was not sent.
 * @param sent names of the fields that the client sent
 * @throws PythonError where a text is no value of its field
 */
export function filledByInfotext (
  request: Readonly<Record<string, unknown>>, sent: readonly string[], mode: Mode
): Record<string, unknown> {
  const { infotext: text } = request
  if (typeof text !== 'string' || text === '') return { ...request }
  const open = Object.entries(fieldsOf(text, mode)).filter(([name]) => !sent.includes(name))
  try {
    const read = readModel(pydantic1, generationModel(mode, 'a1111'), Object.fromEntries(open))
    return { ...request, ...Object.fromEntries(open.map(([name]) => [name, read[name]])) }
  } catch {
    throw new PythonError('ValueError', 'could not convert string to float')
  }
}

/** Settings that an infotext names or implies and that are other now, which A1111 overrides for the request. */
export function settingsOfInfotext (text: string, current: (key: string) => unknown): Record<string, unknown> {
  const pasted = readPastedParameters(text)
  return Object.fromEntries(Object.entries(settings).flatMap(([label, key]) => {
    const value = pasted[label]
    if (value === undefined) return []
    const now = current(key)
    const cast = typeof now === 'number' ? Number(value) : typeof now === 'boolean' ? value === 'True' : value
    return cast === now ? [] : [[key, cast]]
  }))
}

/**
 * Forge looks for the type of the styles in a way that Python refuses, unless the client sent them.
 * @throws PythonError
 */
export function tripOverStyles (request: GenerationRequest, sent: readonly string[]): void {
  if (!request.infotext || 'init_images' in request || sent.includes('styles')) return
  throw new PythonError('TypeError', 'isinstance() argument 2 cannot be a parameterized generic')
}

/** Fills what a request did not set from its `infotext`, and puts the settings found there into its overrides. */
export function applyInfotext (
  request: GenerationRequest, sent: readonly string[], options: Pick<Options, 'get'>
): GenerationRequest {
  if (!request.infotext) return request
  const mode = 'init_images' in request ? 'img2img' : 'txt2img'
  const filled = filledByInfotext({ ...request }, sent, mode) as unknown as GenerationRequest
  const told = settingsOfInfotext(request.infotext, options.get)
  return { ...filled, override_settings: { ...told, ...request.override_settings } }
}
