import { PythonError } from '../fastapi/errors.ts'
import { readModel } from '../fastapi/model.ts'
import { pydantic1 } from '../fastapi/pydantic1.ts'
import { withoutLeading } from '../lib/text.ts'
import { generationModel, type GenerationRequest, type Mode } from './request-model.ts'
import { pickSampler, samplers, schedulers } from './sampler-defaults.ts'

/** The parts of an infotext; a size `AxB` is split into two parameters with -1 and -2 behind their names. */
export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  readonly parameters: Readonly<Record<string, string>>
}

type Pair = readonly [name: string, value: string]

const nameSign = /[\w \-/]/
const blank = /\s/

/**
 * The pairs that A1111's pattern `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)` finds in a line. Read by hand,
 * since the pattern takes the square of the line's length.
 */
function * pairsOf (line: string): Generator<Pair> {
  let from = 0
  for (;;) {
    const colon = line.indexOf(':', from)
    if (colon === -1) return
    let start = colon
    while (start > from && nameSign.test(line.charAt(start - 1))) start--
    const name = withoutLeading(line.slice(start, colon), ' -/')
    from = colon + 1
    if (name.length < 2) continue
    while (from < line.length && blank.test(line.charAt(from))) from++
    const end = endOfQuoted(line, from) ?? endOfPlain(line, from)
    yield [name, line.slice(from, end)]
    from = end + 1
  }
}

function endOfPlain (line: string, start: number): number {
  const comma = line.indexOf(',', start)
  return comma === -1 ? line.length : comma
}

/** Where a text in quotes ends that begins here and has a comma or nothing behind it; null for anything else. */
function endOfQuoted (line: string, start: number): number | null {
  if (line[start] !== '"') return null
  let at = start + 1
  while (at < line.length && line[at] !== '"') at += line[at] === '\\' ? 2 : 1
  const isWhole = at < line.length && at > start + 1 && (at + 1 === line.length || line[at + 1] === ',')
  return isWhole ? at + 1 : null
}

/** Reads an infotext the way A1111's "paste" button does. */
export function readInfotext (text: string): Infotext {
  const lines = text.trim().split('\n')
  const last = lines.at(-1) ?? ''
  const hasParameters = [...pairsOf(last)].length >= 3
  const words = hasParameters ? lines.slice(0, -1) : lines
  const negativeAt = words.findIndex(line => line.startsWith('Negative prompt:'))
  const promptLines = negativeAt === -1 ? words : words.slice(0, negativeAt)
  const negativeLines = negativeAt === -1 ? [] : words.slice(negativeAt)
  return {
    prompt: promptLines.join('\n').trim(),
    negativePrompt: negativeLines.join('\n').replace(/^Negative prompt:/, '').trim(),
    parameters: hasParameters ? readParameters(last) : {}
  }
}

function readParameters (line: string): Record<string, string> {
  const parameters: Record<string, string> = {}
  for (const [name, raw] of pairsOf(line)) {
    const value = unquote(raw.trim())
    const size = /^(\d+)x(\d+)$/.exec(value)
    if (size === null) parameters[name] = value
    else Object.assign(parameters, { [`${name}-1`]: size[1], [`${name}-2`]: size[2] })
  }
  return parameters
}

function unquote (value: string): string {
  if (!value.startsWith('"')) return value
  try {
    const text: unknown = JSON.parse(value)
    return typeof text === 'string' ? text : value
  } catch {
    return value
  }
}

/** What A1111 adds to every infotext that it reads, unless the text says otherwise. */
const additions: Readonly<Record<string, unknown>> = {
  'Clip skip': '1',
  'Hires resize-1': 0,
  'Hires resize-2': 0,
  'Hires sampler': 'Use same sampler',
  'Hires schedule type': 'Use same scheduler',
  'Hires checkpoint': 'Use same checkpoint',
  'Hires prompt': '',
  'Hires negative prompt': '',
  'Mask mode': 'Inpaint masked',
  'Masked content': 'original',
  'Inpaint area': 'Whole picture',
  'Masked area padding': 32,
  RNG: 'GPU',
  'Schedule type': 'Automatic',
  'Schedule max sigma': 0,
  'Schedule min sigma': 0,
  'Schedule rho': 0,
  'VAE Encoder': 'Full',
  'VAE Decoder': 'Full',
  'FP8 weight': 'Disable',
  'Refiner switch by sampling steps': false
}

/** And Forge besides. */
export const forgeAdditions: Readonly<Record<string, unknown>> = { 'Hires VAE/TE': ['Use same choices'] }

/** The `parameters` of POST /sdapi/v1/png-info; whatever stood in the text is a string. */
export function readPastedParameters (
  infotext: string, more: Readonly<Record<string, unknown>> = {}
): Record<string, unknown> {
  const { prompt, negativePrompt, parameters } = readInfotext(infotext)
  return { ...additions, ...more, ...parameters, Prompt: prompt, 'Negative prompt': negativePrompt }
}

/** Which parameter of an infotext fills which field; the checkpoint is not among them: it stays the current one. */
const labels: Readonly<Partial<Record<keyof GenerationRequest, string>>> = {
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
const ofScripts: Readonly<Partial<Record<keyof GenerationRequest, string>>> = {
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
  const chosen = { sampler: String(pasted.Sampler ?? ''), schedule: String(pasted['Schedule type']) }
  const { sampler, schedulerLabel } = pickSampler(lists, chosen.sampler, chosen.schedule)
  const isHires = 'Denoising strength' in pasted &&
    ['Hires upscale', 'Hires upscaler'].some(label => label in pasted)
  const ofTxt2img = mode === 'img2img'
    ? {}
    : { enable_hr: isHires, hr_sampler_name: 'Use same sampler', hr_scheduler: sameAs(chosen.schedule, schedulerLabel) }
  const named = Object.entries(mode === 'img2img' ? ofScripts : { ...labels, ...ofScripts })
    .map(([field, label]) => [field, pasted[label]] as const).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(named), ...ofTxt2img, sampler_name: sampler.name, scheduler: schedulerLabel }
}

function sameAs (name: string, label: string): string {
  return name === label ? 'Use same scheduler' : label
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
  request: GenerationRequest, sent: readonly string[], options: { get (key: string): unknown }
): GenerationRequest {
  if (!request.infotext) return request
  const mode = 'init_images' in request ? 'img2img' : 'txt2img'
  const filled = filledByInfotext({ ...request }, sent, mode) as unknown as GenerationRequest
  const settings = settingsOfInfotext(request.infotext, options.get)
  return { ...filled, override_settings: { ...settings, ...request.override_settings } }
}
