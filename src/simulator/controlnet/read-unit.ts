import { PythonError } from '../failures.ts'
import { findModule } from './lists.ts'

/** A unit that is switched on, as its extension understood it. */
export interface Unit {
  /** Base64; null takes the picture that img2img starts from. */
  readonly image: string | null
  readonly mask: string | null
  readonly module: string
  readonly model: string
  readonly weight: number
  /** Whether its map is appended to the images. */
  readonly showsMap: boolean
}

const controlModes = ['Balanced', 'My prompt is more important', 'ControlNet is more important']
const resizeModes = ['Just Resize', 'Crop and Resize', 'Resize and Fill']
const oldResizeModes = ['Inner Fit (Scale to Fit)', 'Outer Fit (Shrink to Fit)', 'Scale to Fit (Inner Fit)', 'Envelope (Outer Fit)']
const hiresOptions = ['Both', 'Low res only', 'High res only']

/**
 * A unit as the extension of A1111 reads it (1.1.455): null where it is switched off, which it is unless it says so.
 * @throws PythonError for a unit that its model refuses; this one comes through to the caller
 */
export function readA1111Unit (given: Readonly<Record<string, unknown>>): Unit | null {
  enumeration('control_mode', given.control_mode, controlModes)
  enumeration('hr_option', given.hr_option, hiresOptions)
  if (given.resize_mode !== undefined && !isOneOf(given.resize_mode, [...resizeModes, ...oldResizeModes])) {
    throw new PythonError('AssertionError', `Unrecognized resize mode: ${shown(given.resize_mode)}`)
  }
  const module = textField(given, 'module', 'none')
  if (findModule('a1111', module) === undefined) invalid('module', `module(${module}) not found in supported modules.`)
  const weight = numberField(given, 'weight', 1)
  if (weight < 0 || weight > 2) invalid('weight', 'ensure this value is between 0 and 2')
  const [start, end] = [numberField(given, 'guidance_start', 0), numberField(given, 'guidance_end', 1)]
  if (start < 0 || end > 1) invalid('guidance_start', 'ensure this value is between 0 and 1')
  if (start > end) invalid('__root__', `guidance_start(${start}) > guidance_end(${end})`)
  if (given.mask != null && given.mask_image != null) invalid('__root__', 'mask and mask_image are the same field')
  if (given.image != null && given.input_image != null) {
    throw new PythonError('AssertionError', 'Both image and input_image are given')
  }
  if (given.enabled !== true) return null
  const { image, mask } = readPictures(given.image ?? given.input_image)
  return {
    image,
    mask: textOrNull(given.mask_image ?? given.mask) ?? mask,
    module,
    model: textField(given, 'model', 'None'),
    weight,
    showsMap: given.save_detected_map !== false
  }
}

/** A unit as Forge reads it: unknown fields fall away without a word, and nothing is checked before it is used. */
export function readForgeUnit (given: Readonly<Record<string, unknown>>): Unit | null {
  if (given.enabled === false) return null
  return {
    image: textOrNull(given.image),
    mask: textOrNull(given.mask_image),
    module: textOrNull(given.module) ?? 'None',
    model: textOrNull(given.model) ?? 'None',
    weight: typeof given.weight === 'number' ? given.weight : 1,
    showsMap: given.save_detected_map !== false
  }
}

/** A picture alone, with its mask in an object, or both in a list. */
function readPictures (given: unknown): { image: string | null, mask: string | null } {
  if (Array.isArray(given)) {
    const [first, second] = given as readonly unknown[]
    return isObject(first) ? readPictures(first) : { image: textOrNull(first), mask: textOrNull(second) }
  }
  if (isObject(given)) return { image: textOrNull(given.image), mask: textOrNull(given.mask) }
  return { image: textOrNull(given), mask: null }
}

function enumeration (field: string, value: unknown, permitted: readonly string[]): void {
  if (value === undefined || isOneOf(value, permitted)) return
  const list = permitted.map(one => `'${one}'`).join(', ')
  invalid(field, `value is not a valid enumeration member; permitted: ${list}`)
}

function invalid (field: string, message: string): never {
  throw new PythonError('ValidationError', `1 validation error for ControlNetUnit\n${field}\n  ${message}`)
}

function isOneOf (value: unknown, permitted: readonly string[]): boolean {
  return typeof value === 'string' && permitted.includes(value)
}

function textField (given: Readonly<Record<string, unknown>>, field: string, fallback: string): string {
  const value = given[field]
  if (value === undefined) return fallback
  if (typeof value !== 'string') invalid(field, 'str type expected')
  return value
}

function numberField (given: Readonly<Record<string, unknown>>, field: string, fallback: number): number {
  const value = given[field]
  if (value === undefined) return fallback
  if (typeof value !== 'number') invalid(field, 'value is not a valid float')
  return value
}

export function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOrNull (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function shown (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}
