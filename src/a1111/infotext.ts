import { definedOnly } from './field-values.ts'

/** Generation parameters as A1111 writes them into a picture, taken apart. */
export interface Infotext {
  readonly prompt: string
  readonly negativePrompt: string
  /** What follows the prompts, by A1111's own labels such as `CFG scale`; quotes are gone. */
  readonly fields: ReadonlyMap<string, string>
}

/** Labels that show a line of parameters where `Steps` does not begin it. */
const knownLabels = new Set(['Steps', 'Sampler', 'Schedule type', 'CFG scale', 'Seed', 'Size', 'Model', 'Model hash'])

/**
 * Reads generation parameters: a prompt of any number of lines, a negative prompt likewise after
 * `Negative prompt:`, then `Steps: 20, Sampler: …`, where values with commas stand in quotes (or, as Civitai
 * writes them, in brackets). Text without parameters is all prompt.
 */
export function parseInfotext (text: string): Infotext {
  const lines = text.replace(/\r\n?/g, '\n').split('\n').map(line => line.trim())
  const start = firstParameterLine(lines)
  const said = lines.slice(0, start)
  const negative = said.findIndex(line => line.startsWith('Negative prompt:'))
  const end = negative === -1 ? said.length : negative
  return {
    prompt: said.slice(0, end).join('\n').trim(),
    negativePrompt: said.slice(end).join('\n').replace(/^Negative prompt:/, '').trim(),
    fields: readPairs(lines.slice(start).join(', '))
  }
}

function firstParameterLine (lines: readonly string[]): number {
  const usual = lines.findLastIndex(line => /^Steps:\s*\d/.test(line))
  if (usual !== -1) return usual
  const first = lines.findIndex(line => knownLabels.has(line.slice(0, Math.max(0, line.indexOf(':')))))
  if (first === -1) return lines.length
  const labels = [...readPairs(lines.slice(first).join(', ')).keys()]
  return labels.filter(label => knownLabels.has(label)).length >= 2 ? first : lines.length
}

function readPairs (text: string): Map<string, string> {
  const pairs = new Map<string, string>()
  let start = 0
  while (start < text.length) {
    const end = endOfPart(text, start)
    const part = text.slice(start, end)
    const colon = part.indexOf(':')
    if (colon > 0) pairs.set(part.slice(0, colon).trim(), unquoted(part.slice(colon + 1).trim()))
    start = end + 1
  }
  return pairs
}

/** Where the comma is that ends `label: value`; one inside a quoted or bracketed value ends nothing. */
function endOfPart (text: string, start: number): number {
  const comma = text.indexOf(',', start)
  if (comma === -1) return text.length
  const opened = /^[^:]*:\s*(["[{])/.exec(text.slice(start, comma))
  if (opened === null) return comma
  const opening = start + opened[0].length - 1
  const closing = opened[1] === '"' ? endOfQuote(text, opening) : endOfBracket(text, opening)
  const next = text.indexOf(',', closing)
  return next === -1 ? text.length : next
}

function endOfQuote (text: string, opening: number): number {
  for (let index = opening + 1; index < text.length; index++) {
    if (text[index] === '\\') index++
    else if (text[index] === '"') return index
  }
  return text.length
}

function endOfBracket (text: string, opening: number): number {
  let depth = 0
  for (let index = opening; index < text.length; index++) {
    const sign = text[index]
    if (sign === '"') index = endOfQuote(text, index)
    else if (sign === '[' || sign === '{') depth++
    else if ((sign === ']' || sign === '}') && --depth === 0) return index
  }
  return text.length
}

function unquoted (value: string): string {
  if (!value.startsWith('"')) return value
  try {
    return String(JSON.parse(value))
  } catch {
    return value
  }
}

/** A1111's labels and the fields they fill; values are still text. */
const fieldsByLabel: Readonly<Record<string, string>> = {
  Steps: 'steps',
  Sampler: 'sampler_name',
  'Schedule type': 'scheduler',
  'CFG scale': 'cfg_scale',
  'Distilled CFG Scale': 'distilled_cfg_scale',
  'Image CFG scale': 'image_cfg_scale',
  Seed: 'seed',
  'Variation seed': 'subseed',
  'Variation seed strength': 'subseed_strength',
  'Denoising strength': 'denoising_strength',
  'Clip skip': 'clip_skip',
  VAE: 'vae',
  Tiling: 'tiling',
  Refiner: 'refiner_checkpoint',
  'Refiner switch at': 'refiner_switch_at',
  'Hires upscale': 'hr_scale',
  'Hires upscaler': 'hr_upscaler',
  'Hires steps': 'hr_second_pass_steps',
  'Hires checkpoint': 'hr_checkpoint_name',
  'Hires sampler': 'hr_sampler_name',
  'Hires schedule type': 'hr_scheduler',
  'Hires prompt': 'hr_prompt',
  'Hires negative prompt': 'hr_negative_prompt',
  'Hires CFG Scale': 'hr_cfg',
  'Hires Distilled CFG Scale': 'hr_distilled_cfg',
  Eta: 'eta',
  NGMS: 's_min_uncond',
  'Sigma churn': 's_churn',
  'Sigma tmin': 's_tmin',
  'Sigma tmax': 's_tmax',
  'Sigma noise': 's_noise'
}

/** Labels of what is a setting of the server to A1111. */
const settingsByLabel: Readonly<Record<string, string>> = {
  ENSD: 'eta_noise_seed_delta',
  RNG: 'randn_source',
  Emphasis: 'emphasis',
  'Discard penultimate sigma': 'always_discard_next_to_last_sigma',
  'SGM noise multiplier': 'sgm_noise_multiplier',
  'Noise Schedule': 'sd_noise_schedule',
  'Token merging ratio': 'token_merging_ratio',
  'Token merging ratio hr': 'token_merging_ratio_hr',
  'Face restoration': 'face_restoration_model'
}

const hiresLabels = ['Hires upscale', 'Hires resize', 'Hires upscaler', 'Hires steps']

/** The same as fields of a submission, which are still to be normalised like any client's. */
export function toParameters ({ prompt, negativePrompt, fields }: Infotext): Record<string, unknown> {
  return definedOnly<unknown>({
    prompt,
    negative_prompt: negativePrompt,
    ...labelled(fields, fieldsByLabel),
    ...size(fields.get('Size'), 'width', 'height'),
    ...size(fields.get('Hires resize'), 'hr_resize_x', 'hr_resize_y'),
    ...size(fields.get('Seed resize from'), 'seed_resize_from_w', 'seed_resize_from_h'),
    enable_hr: hiresLabels.some(label => fields.has(label)) ? true : undefined,
    restore_faces: fields.has('Face restoration') ? true : undefined,
    checkpoint_name: fields.get('Model'),
    model_hash: fields.get('Model hash'),
    override_settings: { ...labelled(fields, settingsByLabel), ...modules(fields) }
  })
}

function labelled (fields: Infotext['fields'], names: Readonly<Record<string, string>>): Record<string, unknown> {
  return definedOnly(Object.fromEntries(Object.entries(names).map(([label, name]) => [name, fields.get(label)])))
}

function size (text: string | undefined, width: string, height: string): Record<string, unknown> {
  const [, wide, high] = /^(\d+)\s*[x×]\s*(\d+)$/i.exec(text ?? '') ?? []
  return wide === undefined ? {} : { [width]: wide, [height]: high }
}

/** Forge writes its VAE and text encoders as `Module 1`, `Module 2` and so on. */
function modules (fields: Infotext['fields']): Record<string, unknown> {
  const names = [...fields].filter(([label]) => /^Module \d+$/.test(label)).map(([, name]) => name)
  return names.length === 0 ? {} : { forge_additional_modules: names }
}
