import { definedOnly } from './field-values.ts'
import type { Infotext } from './infotext.ts'

/** What A1111's `infotext` fills in img2img: its scripts' own fields and settings, but no prompt and no size. */
export const filledInImg2img: readonly string[] = [
  'steps', 'sampler_name', 'sampler_index', 'scheduler', 'seed', 'subseed', 'subseed_strength', 'refiner_checkpoint',
  'refiner_switch_at', 'eta', 's_min_uncond', 's_churn', 's_tmin', 's_tmax', 's_noise', 'clip_skip', 'vae', 'override_settings'
]

/** A1111's labels and the fields they fill; values are still text. Of several labels the first that is there counts. */
const fieldsByLabel: ReadonlyArray<readonly [label: string, field: string]> = [
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

/** Labels of what is a setting of the server to A1111 (`infotext=` in its shared_options.py). */
export const settingsByLabel: ReadonlyArray<readonly [label: string, setting: string]> = [
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
const menus: ReadonlyArray<readonly [label: string, field: string, words: readonly string[]]> = [
  ['Mask mode', 'inpainting_mask_invert', ['inpaint masked', 'inpaint not masked']],
  ['Masked content', 'inpainting_fill', ['fill', 'original', 'latent noise', 'latent nothing']],
  ['Inpaint area', 'inpaint_full_res', ['whole picture', 'only masked']],
  ['Resize mode', 'resize_mode', ['just resize', 'crop and resize', 'resize and fill', 'just resize (latent upscale)']]
]

const hiresLabels = ['Hires upscale', 'Hires resize', 'Hires upscaler', 'Hires steps']

type Lookup = (label: string) => string | undefined

/** An infotext as fields of a submission, which are still to be normalised like any client's. */
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

/** Before prompts could name a hypernetwork, it stood among the parameters. */
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

/** Pixels of the first pass that old hires fix chose where 0x0 stands. */
const firstPassPixels = 512 * 512

/** Hires fix of the first A1111 named its first pass, and `Size` was that of the finished picture. */
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
