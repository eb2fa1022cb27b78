import type { A1111ParameterName, A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { type JsonObject, textsOf } from '../lib/json-values.ts'
import { largestSeed, leavesRoom, readInteger, seedAfter } from '../lib/seeds.ts'
import { definedOnly, type FieldRule, type FieldRules, isRecord, isUnset, readValue } from './field-values.ts'
import { type Infotext, parseInfotext } from './infotext.ts'
import { outputSize } from './limits.ts'
import { bareName } from './names.ts'
import { overrideRules } from './override-settings.ts'

/** Fields that A1111's `infotext` fills in img2img: its scripts' own fields and settings, but no prompt and no size. */
export const filledInImg2img: readonly string[] = [
  'steps', 'sampler_name', 'sampler_index', 'scheduler', 'seed', 'subseed', 'subseed_strength', 'refiner_checkpoint',
  'refiner_switch_at', 'eta', 's_min_uncond', 's_churn', 's_tmin', 's_tmax', 's_noise', 'clip_skip', 'vae', 'override_settings'
]

/** A1111's labels and the fields they fill; values are still text. Of several labels the first one present counts. */
const fieldsByLabel: ReadonlyArray<readonly [label: string, field: A1111ParameterName | 'clip_skip' | 'vae']> = [
  ['Steps', 'steps'],
  ['Sampler', 'sampler_name'],
  ['Schedule type', 'scheduler'],
  ['Scheduler', 'scheduler'],
  ['CFG scale', 'cfg_scale'],
  ['Distilled CFG Scale', 'distilled_cfg_scale'],
  ['Image CFG scale', 'image_cfg_scale'],
  ['Seed', 'seed'],
  ['Variation seed', 'subseed'],
  ['Variation seed strength', 'subseed_strength'],
  ['Denoising strength', 'denoising_strength'],
  ['Clip skip', 'clip_skip'],
  ['VAE', 'vae'],
  ['Tiling', 'tiling'],
  ['Refiner', 'refiner_checkpoint'],
  ['Refiner switch at', 'refiner_switch_at'],
  ['Hires upscale', 'hr_scale'],
  ['Hires upscaler', 'hr_upscaler'],
  ['Hires steps', 'hr_second_pass_steps'],
  ['Hires checkpoint', 'hr_checkpoint_name'],
  ['Hires sampler', 'hr_sampler_name'],
  ['Hires schedule type', 'hr_scheduler'],
  ['Hires prompt', 'hr_prompt'],
  ['Hires negative prompt', 'hr_negative_prompt'],
  ['Hires CFG Scale', 'hr_cfg'],
  ['Hires Distilled CFG Scale', 'hr_distilled_cfg'],
  ['Eta', 'eta'],
  ['NGMS', 's_min_uncond'],
  ['Sigma churn', 's_churn'],
  ['Sigma tmin', 's_tmin'],
  ['Sigma tmax', 's_tmax'],
  ['Sigma noise', 's_noise'],
  ['Mask blur', 'mask_blur'],
  ['Masked area padding', 'inpaint_full_res_padding'],
  ['Noise multiplier', 'initial_noise_multiplier']
]

/** Labels of values that A1111 keeps as settings of the server (`infotext=` in its shared_options.py). */
const settingsByLabel: ReadonlyArray<readonly [label: string, setting: string]> = [
  ['ENSD', 'eta_noise_seed_delta'],
  ['RNG', 'randn_source'],
  ['Emphasis', 'emphasis'],
  ['Discard penultimate sigma', 'always_discard_next_to_last_sigma'],
  ['SGM noise multiplier', 'sgm_noise_multiplier'],
  ['Noise Schedule', 'sd_noise_schedule'],
  ['Downcast alphas_cumprod', 'use_downcasted_alpha_bar'],
  ['Token merging ratio', 'token_merging_ratio'],
  ['Token merging ratio img2img', 'token_merging_ratio_img2img'],
  ['Token merging ratio hr', 'token_merging_ratio_hr'],
  ['Face restoration', 'face_restoration_model'],
  ['Conditional mask weight', 'inpainting_mask_weight'],
  ['Extra noise', 'img2img_extra_noise'],
  ['Schedule max sigma', 'sigma_max'],
  ['Schedule min sigma', 'sigma_min'],
  ['Schedule rho', 'rho'],
  ['Beta scheduler alpha', 'beta_dist_alpha'],
  ['Beta scheduler beta', 'beta_dist_beta'],
  ['Eta DDIM', 'eta_ddim'],
  ['DDIM Discretize', 'ddim_discretize'],
  ['UniPC variant', 'uni_pc_variant'],
  ['UniPC skip type', 'uni_pc_skip_type'],
  ['UniPC order', 'uni_pc_order'],
  ['UniPC lower order final', 'uni_pc_lower_order_final'],
  ['Skip Early CFG', 'skip_early_cond'],
  ['NGMS all steps', 's_min_uncond_all'],
  ['Pad conds', 'pad_cond_uncond'],
  ['Pad conds v0', 'pad_cond_uncond_v0'],
  ['VAE Encoder', 'sd_vae_encode_method'],
  ['VAE Decoder', 'sd_vae_decode_method'],
  ['Refiner switch by sampling steps', 'refiner_switch_by_sample_steps'],
  ['Hires refiner pass', 'hires_fix_refiner_pass']
]

/** Fields that A1111's menus fill by position, and the words of those menus. */
const menus: ReadonlyArray<readonly [label: string, field: A1111ParameterName, words: readonly string[]]> = [
  ['Mask mode', 'inpainting_mask_invert', ['inpaint masked', 'inpaint not masked']],
  ['Masked content', 'inpainting_fill', ['fill', 'original', 'latent noise', 'latent nothing']],
  ['Inpaint area', 'inpaint_full_res', ['whole picture', 'only masked']],
  ['Resize mode', 'resize_mode', ['just resize', 'crop and resize', 'resize and fill', 'just resize (latent upscale)']]
]

const hiresLabels = ['Hires upscale', 'Hires resize', 'Hires upscaler', 'Hires steps']

type Lookup = (label: string) => string | undefined

/** An infotext as fields of a submission, to be normalised like any client's. */
export function toParameters ({ prompt, negativePrompt, fields }: Infotext): Record<string, unknown> {
  const byCase = new Map([...fields].map(([label, value]) => [label.toLowerCase(), value]))
  const find: Lookup = label => fields.get(label) ?? byCase.get(label.toLowerCase())
  const has = (label: string) => find(label) !== undefined
  return definedOnly<unknown>({
    prompt: prompt + hypernetwork(find),
    negative_prompt: negativePrompt,
    ...labelled(find, fieldsByLabel),
    ...chosen(find),
    ...size(find('Hires resize'), 'hr_resize_x', 'hr_resize_y'),
    ...size(find('Seed resize from'), 'seed_resize_from_w', 'seed_resize_from_h'),
    ...size(find('Size'), 'width', 'height'),
    ...oldHires(find),
    enable_hr: [...hiresLabels, 'First pass size'].some(has) ? true : undefined,
    restore_faces: has('Face restoration') ? true : undefined,
    checkpoint_name: find('Model'),
    model_hash: find('Model hash'),
    override_settings: { ...labelled(find, settingsByLabel), ...modules(fields) }
  })
}

function labelled (find: Lookup, names: ReadonlyArray<readonly [string, string]>): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [label, name] of names) found[name] ??= find(label)
  return definedOnly(found)
}

function chosen (find: Lookup): Record<string, unknown> {
  return Object.fromEntries(menus.flatMap(([label, field, words]) => {
    const at = words.indexOf(find(label)?.trim().toLowerCase() ?? '')
    return at === -1 ? [] : [[field, field === 'inpaint_full_res' ? at === 1 : at]]
  }))
}

/** Before prompts could name a hypernetwork, it was one of the parameters. */
function hypernetwork (find: Lookup): string {
  const name = find('Hypernet')
  return name === undefined || name === '' ? '' : `<hypernet:${name}:${find('Hypernet strength') ?? '1.0'}>`
}

function sidesOf (text: string | undefined): [width: number, height: number] | null {
  const [, wide, high] = /^(\d{1,9})\s*[x×]\s*(\d{1,9})$/i.exec(text ?? '') ?? []
  return wide === undefined ? null : [Number(wide), Number(high)]
}

function size (text: string | undefined, width: string, height: string): Record<string, unknown> {
  const read = sidesOf(text)
  return read === null ? {} : { [width]: String(read[0]), [height]: String(read[1]) }
}

/** Pixels of the first pass that old hires fix chose for 0x0. */
const firstPassPixels = 512 * 512

/** Hires fix of the first A1111 named its first pass, and `Size` was that of the finished image. */
function oldHires (find: Lookup): Record<string, unknown> {
  const first = sidesOf(find('First pass size'))
  if (first === null) return {}
  const [width, height] = sidesOf(find('Size')) ?? [512, 512]
  const scale = Math.sqrt(firstPassPixels / Math.max(1, width * height))
  const usual = (side: number) => Math.ceil(scale * side / 64) * 64
  const [wide, high] = first[0] === 0 || first[1] === 0 ? [usual(width), usual(height)] : first
  return { width: String(wide), height: String(high), hr_resize_x: String(width), hr_resize_y: String(height) }
}

/** Forge writes its VAE and text encoders as `Module 1`, `Module 2` and so on. */
function modules (fields: Infotext['fields']): Record<string, unknown> {
  const names = [...fields].filter(([label]) => /^Module \d+$/.test(label)).map(([, name]) => name)
  return names.length === 0 ? {} : { forge_additional_modules: names }
}

export interface FittingOptions {
  /** The field of the text, for the warnings. */
  readonly field: string
  readonly rules: FieldRules
  /** If the server judges, it gets the values of the text. */
  readonly judge: 'here' | 'server'
  readonly warn: (warning: Warning) => void
}

/** Words by which other programs say that a value was not set. */
const unset = /^(?:none|null|undefined)$/i
const decimal = /^\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?\s*$/i
const maxShown = 40

/**
 * Values of an infotext, each brought into the range of its field. The text can come from another program with other
 * limits, so one odd value is dropped without failing the whole job.
 */
export function fittingValues (
  fields: Readonly<Record<string, unknown>>, options: FittingOptions
): Record<string, unknown> {
  const { override_settings: settings, ...plain } = fields
  const overrides = isRecord(settings) ? fittingEach(settings, { ...options, rules: overrideRules }) : {}
  return { ...fittingEach(plain, options), override_settings: overrides }
}

/** Ranges beyond A1111's interface that are usual in other programs. */
const wider: Readonly<Record<string, FieldRule['usual']>> = {
  width: [8, 4096],
  height: [8, 4096],
  hr_resize_x: [0, 8192],
  hr_resize_y: [0, 8192],
  hr_scale: [1, 8],
  cfg_scale: [0, 100]
}

function withinUsual (name: string, rule: FieldRule): FieldRule {
  const [least, most] = wider[name] ?? rule.usual ?? []
  return least === undefined || most === undefined ? rule : { ...rule, minimum: least, maximum: most }
}

function fittingEach (fields: Readonly<Record<string, unknown>>, { field, rules, judge, warn }: FittingOptions) {
  return Object.fromEntries(Object.entries(fields).flatMap(([name, value]) => {
    const known = rules.get(name)
    const rule = known === undefined || judge === 'server' ? known : withinUsual(name, known)
    if (rule === undefined || isUnset(value) || isReadable(name, value, rule)) return [[name, value]]
    if (typeof value === 'string' && rule.kind !== 'string' && unset.test(value.trim())) return []
    const nearest = nearestOf(value, rule)
    const said = `${name} is ${shown(value)} in this text`
    if (nearest === undefined) {
      warn({ code: 'infotext_value_ignored', message: `${said}, which is no value for it; it is left out.`, field })
      return []
    }
    if (nearest !== readInteger(value) && nearest !== Number(value)) {
      warn({ code: 'infotext_value_clipped', message: `${said}, beyond what is allowed; ${nearest} is taken.`, field })
    }
    return [[name, nearest]]
  }))
}

function isReadable (name: string, value: unknown, rule: FieldRule): boolean {
  try {
    readValue(name, value, rule)
    return true
  } catch {
    return false
  }
}

/** Undefined if the value is not a number. */
function nearestOf (value: unknown, { kind, minimum, maximum }: FieldRule): number | bigint | undefined {
  if (kind === 'seed') {
    const seed = readInteger(value)
    if (seed === undefined) return undefined
    if (minimum !== undefined && seed < minimum) return minimum
    return maximum !== undefined && seed > maximum ? maximum : seed
  }
  if (kind !== 'integer' && kind !== 'number') return undefined
  const read = typeof value === 'string' && decimal.test(value) ? Number(value) : value
  if (typeof read !== 'number' || Number.isNaN(read)) return undefined
  const inside = Math.min(Math.max(read, Number(minimum ?? -Infinity)), Number(maximum ?? Infinity))
  return kind === 'integer' ? Math.round(inside) : inside
}

function shown (value: unknown): string {
  const text = Array.isArray(value) ? `a list of ${value.length}` : String(value)
  return text.length > maxShown ? `${text.slice(0, maxShown)}…` : text
}

export interface OutputOptions {
  /** Names of the parameters that only a text gave. */
  readonly fromText: ReadonlySet<string>
  /** Pixels that all images of the job can have together. */
  readonly maximumPixels: number
  readonly warn: (warning: Warning) => void
}

/** Limits the combined values of a text: seeds too large for the number of images, huge hires fixes. */
export function fittingOutput (
  parameters: A1111Parameters, { fromText, maximumPixels, warn }: OutputOptions
): A1111Parameters {
  if (fromText.size === 0) return parameters
  const { images } = outputSize(parameters)
  const highest = seedAfter(largestSeed, 1 - images)
  const seeds = (['seed', 'subseed'] as const).filter(name =>
    fromText.has(name) && parameters[name] !== undefined && !leavesRoom(parameters[name], images))
  for (const field of seeds) {
    const message = `${field} leaves no room for ${images} images; ${highest} is taken.`
    warn({ code: 'infotext_value_clipped', message, field })
  }
  const fitting = { ...parameters, ...Object.fromEntries(seeds.map(name => [name, highest])) }
  return fromText.has('enable_hr') ? fittingHires(fitting, maximumPixels, warn) : fitting
}

function fittingHires (
  parameters: A1111Parameters, maximumPixels: number, warn: (warning: Warning) => void
): A1111Parameters {
  const pixelsOf = (given: A1111Parameters) => {
    const { images, width, height } = outputSize(given)
    return images * width * height
  }
  if (parameters.enable_hr !== true || pixelsOf(parameters) <= maximumPixels) return parameters
  const scale = Math.floor(Math.sqrt(maximumPixels / pixelsOf({ ...parameters, enable_hr: false })) * 100) / 100
  if (scale < 1) return parameters
  const message = `Hires fix of this text needs more pixels than a job can have; it upscales by ${scale}.`
  warn({ code: 'infotext_value_clipped', message, field: 'hr_scale' })
  return { ...parameters, hr_scale: scale, hr_resize_x: 0, hr_resize_y: 0 }
}

/** A setting of the server that shows in an image's infotext. */
export interface SettingMark {
  readonly label: string
  readonly setting: string
  /** As the infotext has it; a list for modules. */
  readonly value: string | readonly string[]
}

/** The requested settings of a generation. */
export interface AskedSettings {
  readonly parameters: Readonly<Record<string, unknown>>
  /** Settings that were sent along. */
  readonly sent: Readonly<Record<string, unknown>>
}

/** Labels beside those of `settingsByLabel`, and the request field that leaves the same label. */
const moreLabels: ReadonlyArray<readonly [label: string, setting: string, field?: string]> = [
  ['Clip skip', 'CLIP_stop_at_last_layers'],
  ['VAE', 'sd_vae'],
  ['Tiling', 'tiling'],
  ['Face restoration', 'face_restoration', 'restore_faces'],
  ['Eta', 'eta_ancestral', 'eta'],
  ['NGMS', 's_min_uncond'],
  ['Sigma churn', 's_churn'],
  ['Sigma tmin', 's_tmin'],
  ['Sigma tmax', 's_tmax'],
  ['Sigma noise', 's_noise'],
  ['Noise multiplier', 'initial_noise_multiplier'],
  ['Diffusion in Low Bits', 'forge_unet_storage_dtype']
]

const labels: typeof moreLabels = [
  ...moreLabels, ...settingsByLabel.filter(([label]) => !moreLabels.some(([own]) => own === label))
]

const modulesSetting = 'forge_additional_modules'

/**
 * Settings that show in the first image although the request does not have them. Scripts override settings by
 * themselves, so a job with a script proves nothing.
 */
export function unaskedMarks (info: JsonObject, { parameters, sent }: AskedSettings): SettingMark[] {
  if (parameters.script_name !== undefined) return []
  const index = typeof info.index_of_first_image === 'number' ? info.index_of_first_image : 0
  const texts = textsOf(info.infotexts)
  const { fields } = parseInfotext(texts[index] ?? texts[0] ?? '')
  const isAsked = (name: string) => parameters[name] !== undefined || sent[name] !== undefined
  const found: SettingMark[] = []
  for (const [label, setting, field = setting] of labels) {
    const value = fields.get(label)
    if (value === undefined || isAsked(setting) || isAsked(field)) continue
    // the infotext names the model
    found.push({ label, setting, value: setting === 'face_restoration' ? 'true' : value })
  }
  const named = [...fields].filter(([label]) => /^Module \d+$/.test(label)).map(([, name]) => name)
  if (named.length > 0 && !isAsked(modulesSetting)) found.push({ label: 'Module 1', setting: modulesSetting, value: named })
  return found
}

/** Whether two values of a setting are equal, one possibly in the form of an infotext. */
export function sameSetting (one: unknown, other: unknown): boolean {
  return plain(one) === plain(other)
}

function plain (value: unknown): string {
  // a server keeps files by their whole paths
  if (Array.isArray(value)) return value.map(entry => bareName(String(entry)).toLowerCase()).sort().join('\n')
  const text = String(value ?? '').trim()
  const asNumber = text === '' ? Number.NaN : Number(text)
  return Number.isNaN(asNumber) ? bareName(text).toLowerCase() : String(asNumber)
}
