import { settingsByLabel } from './infotext-parameters.ts'
import { parseInfotext } from './infotext.ts'
import { textsOf, type JsonObject } from './json-values.ts'
import { bareName } from './names.ts'

/** A setting of the server that shows in what it wrote into a picture. */
export interface SettingMark {
  readonly label: string
  readonly setting: string
  /** As the infotext has it; a list for modules. */
  readonly value: string | readonly string[]
}

/** What a generation was asked for. */
export interface AskedSettings {
  readonly parameters: Readonly<Record<string, unknown>>
  /** Settings that were sent along. */
  readonly sent: Readonly<Record<string, unknown>>
}

/** Labels beside those of `settingsByLabel`, and the field of a request that leaves the same. */
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

const modules = 'forge_additional_modules'

/**
 * Settings that show in the first picture although nobody asked for them. Scripts ask for settings by themselves, so
 * that nothing can be told of a job with one.
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
    // the infotext says by which model
    found.push({ label, setting, value: setting === 'face_restoration' ? 'true' : value })
  }
  const named = [...fields].filter(([label]) => /^Module \d+$/.test(label)).map(([, name]) => name)
  if (named.length > 0 && !isAsked(modules)) found.push({ label: 'Module 1', setting: modules, value: named })
  return found
}

/** Whether two values of a setting are the same, one of them perhaps as an infotext writes it. */
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
