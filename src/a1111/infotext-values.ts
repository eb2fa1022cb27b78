import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { isRecord, isUnset, readValue, type FieldRule, type FieldRules } from './field-values.ts'
import { overrideRules } from './override-settings.ts'
import { outputSize } from './limits.ts'
import { largestSeed, leavesRoom, readInteger, seedAfter } from './seeds.ts'

export interface FittingOptions {
  /** Where the text stood, for the warnings. */
  readonly field: string
  readonly rules: FieldRules
  /** Where the server judges, it gets what the text says. */
  readonly judge: 'here' | 'server'
  readonly warn: (warning: Warning) => void
}

/** Words by which other programs say that a value was not set. */
const unset = /^(?:none|null|undefined)$/i
const decimal = /^\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?\s*$/i
const mostShown = 40

/**
 * Values of an infotext, each brought into the range of its field. Whoever wrote the text had another program with
 * other limits, so one odd value costs itself and not the whole job.
 */
export function fittingValues (
  fields: Readonly<Record<string, unknown>>, options: FittingOptions
): Record<string, unknown> {
  const { override_settings: settings, ...plain } = fields
  const overrides = isRecord(settings) ? fittingEach(settings, { ...options, rules: overrideRules }) : {}
  return { ...fittingEach(plain, options), override_settings: overrides }
}

/** Beyond what A1111's interface offers, and still usual among other programs. */
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

/** Undefined where the value is no number at all. */
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
  return text.length > mostShown ? `${text.slice(0, mostShown)}…` : text
}

export interface OutputOptions {
  /** Names of the parameters that only a text gave. */
  readonly fromText: ReadonlySet<string>
  /** Pixels that all images of the job may have together. */
  readonly maximumPixels: number
  readonly warn: (warning: Warning) => void
}

/** What a text asks for together, brought into reach: seeds that leave no room for all images, huge hires fixes. */
export function fittingOutput (
  parameters: A1111Parameters, { fromText, maximumPixels, warn }: OutputOptions
): A1111Parameters {
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
