import { isRecord } from '../a1111/field-values.ts'

type Fields = Readonly<Record<string, unknown>>

/** Names that each layer has for fields of requests. */
const otherNames: Readonly<Record<string, string>> = {
  sampler: 'sampler_name',
  cfg: 'cfg_scale',
  model: 'checkpoint',
  negative: 'negative_prompt',
  upscaler: 'hr_upscaler',
  denoising: 'denoising_strength'
}
/** Objects of which each layer can set a part. */
const merged = new Set(['override_settings', 'alwayson_scripts'])

/**
 * Merges a client's fields with stored ones: fields that are missing or null come from the next layer that has them.
 * @param layers the request first, then its preset, then the user's own settings
 */
export function mergeDefaults (...layers: readonly Fields[]): Record<string, unknown> {
  const result: Record<string, unknown> = {}
  for (const layer of layers) {
    for (const [name, value] of Object.entries(layer)) {
      const above = result[name]
      if (above === undefined || above === null) result[name] = value
      else if (merged.has(name) && isRecord(above) && isRecord(value)) result[name] = withDefaults(above, value)
    }
  }
  return result
}

/** Keys of scripts are titles, which a server matches in any case. */
function withDefaults (above: Fields, below: Fields): Fields {
  const present = new Set(Object.keys(above).map(name => name.toLowerCase()))
  const further = Object.entries(below).filter(([name]) => !present.has(name.toLowerCase()))
  return { ...Object.fromEntries(further), ...above }
}

export interface StoredDefaults {
  readonly fields: Fields
  /** Names without a meaning in any request. */
  readonly unknown: readonly string[]
}

/** The field of a request for a stored setting; null if there is none. */
export function settingName (given: string, known: ReadonlySet<string>): string | null {
  const plain = given.replace(/^(default|preferred)_/, '')
  const name = known.has(given) ? given : otherNames[plain] ?? plain
  return known.has(name) ? name : null
}

/**
 * A user's stored settings, as fields of a request: `default_steps` and `preferred_sampler` mean `steps` and
 * `sampler_name`.
 * @param known names of all fields of requests
 */
export function asDefaults (stored: Fields, known: ReadonlySet<string>): StoredDefaults {
  const fields: Record<string, unknown> = {}
  const unknown: string[] = []
  for (const [given, value] of Object.entries(stored)) {
    const name = settingName(given, known)
    if (name === null) unknown.push(given)
    else fields[name] ??= value
  }
  return { fields, unknown }
}
