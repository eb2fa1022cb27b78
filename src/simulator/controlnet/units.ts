import type { GenerationRequest } from '../../a1111/request-model.ts'
import { HttpException, PythonError } from '../../fastapi/errors.ts'
import type { StruckFaults } from '../faults/faults.ts'
import type { Family } from '../flavors.ts'
import type { Plan } from '../generation/plan.ts'
import { createBitmap, decodeImage, type Bitmap, readBase64, resizeBitmap } from '../images/pixels.ts'
import type { ServerProcess } from '../server-process.ts'
import { findModule, models, type Module } from './lists.ts'

/** A preprocessor's map of an image: lines, light and dark, or the image itself. */
export function drawMap (bitmap: Bitmap, label: string): Bitmap {
  if (/^none$/i.test(label)) return bitmap
  if (label.startsWith('invert')) return mapPixels(bitmap, value => 255 - value)
  if (/^(depth|normal|seg)/.test(label)) return shade(bitmap)
  return detectEdges(bitmap)
}

/** White lines between different neighbouring pixels. */
function detectEdges (bitmap: Bitmap): Bitmap {
  const { width, height } = bitmap
  const map = createBitmap(width, height)
  const at = (x: number, y: number): number => brightness(bitmap, Math.min(x, width - 1), Math.min(y, height - 1))
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const here = at(x, y)
      const difference = Math.abs(here - at(x + 1, y)) + Math.abs(here - at(x, y + 1))
      map.data.fill(difference > 48 ? 255 : 0, (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return map
}

function shade (bitmap: Bitmap): Bitmap {
  const { width, height } = bitmap
  const map = createBitmap(width, height)
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      map.data.fill(Math.round(brightness(bitmap, x, y) / 3), (y * width + x) * 3, (y * width + x) * 3 + 3)
    }
  }
  return map
}

/** 0 to 765. */
function brightness ({ width, data }: Bitmap, x: number, y: number): number {
  const offset = (y * width + x) * 3
  return (data[offset] as number) + (data[offset + 1] as number) + (data[offset + 2] as number)
}

function mapPixels (bitmap: Bitmap, change: (value: number) => number): Bitmap {
  return { ...bitmap, data: Buffer.from(bitmap.data.map(change)) }
}

/** A unit that is switched on, as its extension understood it. */
interface Unit {
  /** Base64; null takes the image that img2img starts from. */
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
 * A unit as the extension of A1111 reads it (1.1.455): null if it is switched off, which is the default.
 * @throws PythonError for a unit that its model refuses; this one reaches the client
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
  const { image, mask } = readImages(given.image ?? given.input_image)
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

/** An image alone, with its mask in an object, or both in a list. */
function readImages (given: unknown): { image: string | null, mask: string | null } {
  if (Array.isArray(given)) {
    const [first, second] = given as readonly unknown[]
    return isObject(first) ? readImages(first) : { image: textOrNull(first), mask: textOrNull(second) }
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

function isObject (value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOrNull (value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function shown (value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** The extension's work in one generation. */
export interface ControlNet {
  /** Its entries in the infotext: one for each unit, before it loads anything. */
  readonly extraParameters: Readonly<Record<string, string>>
  /** Its maps behind the images: one for each unit, two with hires fix; none if it failed. */
  readonly maps: readonly Bitmap[]
  /** The controlled image, whose lines show through; unchanged if nothing controls. */
  apply (bitmap: Bitmap): Bitmap
}

/** How strongly a unit of weight 1 shows. */
const strength = 0.4

/**
 * Runs the extension over a request. A unit that A1111's extension cannot parse fails the request; later failures, and
 * all at Forge, are only written to the console, and the image comes out without any control.
 * @throws PythonError
 */
export async function runControlNet (
  { machine }: ServerProcess, request: GenerationRequest,
  { plan, faults }: { readonly plan: Plan, readonly faults: StruckFaults }
): Promise<ControlNet> {
  const { family, controlNet, controlNetUnits } = machine.settings
  const units = controlNet ? readUnits(request, family, controlNetUnits) : []
  const extraParameters = Object.fromEntries(units.map((unit, index) => [
    `ControlNet ${index}`, `Module: ${unit.module}, Model: ${unit.model}, Weight: ${unit.weight}`
  ]))
  const loaded = faults.has('script-error') ? null : await loadUnits(units, request, family)
  if (loaded === null) return { extraParameters, maps: [], apply: bitmap => bitmap }
  const sizes = [
    { width: plan.imageWidth, height: plan.imageHeight },
    ...plan.hires === null ? [] : [{ width: plan.hires.width, height: plan.hires.height }]
  ]
  return {
    extraParameters,
    maps: sizes.flatMap(size => loaded.filter(({ isShown }) => isShown).map(({ map }) => resizeBitmap(map, size))),
    apply: bitmap => loaded.reduce((drawn, { map, weight }) => showThrough(drawn, map, weight * strength), bitmap)
  }
}

/** In either spelling of the title that the extension accepts; units beyond the count are cut off. */
function readUnits (request: GenerationRequest, family: Family, count: number): Unit[] {
  const entry = Object.entries(request.alwayson_scripts).find(([title]) => title.toLowerCase() === 'controlnet')
  const args: unknown = isObject(entry?.[1]) ? entry[1].args : []
  const read = family === 'forge' ? readForgeUnit : readA1111Unit
  return (Array.isArray(args) ? args.slice(0, count) : []).flatMap((unit: unknown) =>
    isObject(unit) ? read(unit) ?? [] : [])
}

interface LoadedUnit {
  readonly map: Bitmap
  readonly isShown: boolean
  readonly weight: number
}

/** All units, or null if one of them is unusable: the extension gives up at the first. */
async function loadUnits (
  units: readonly Unit[], request: GenerationRequest, family: Family
): Promise<LoadedUnit[] | null> {
  const loaded: LoadedUnit[] = []
  for (const unit of units) {
    const module = findModule(family, unit.module)
    const source = unit.image ?? firstImage(request)
    if (module === undefined || source === null || !hasModel(unit, module, family)) return null
    const bitmap = await decoded(source)
    const mask = unit.mask === null ? null : await decoded(unit.mask)
    if (bitmap === null || (unit.mask !== null && mask === null)) return null
    const isMaskFitting = mask === null || family === 'forge' ||
      (mask.width === bitmap.width && mask.height === bitmap.height)
    if (!isMaskFitting || (module.needsMask && mask === null)) return null
    loaded.push({
      map: drawMap(bitmap, module.label), isShown: unit.showsMap && module.makesMap, weight: unit.weight
    })
  }
  return loaded
}

/** A1111's extension takes the shortest name that contains the wanted one; Forge wants every letter. */
function hasModel ({ model }: Unit, module: Module, family: Family): boolean {
  if (module.modelFree) return true
  if (model.toLowerCase() === 'none') return false
  return family === 'forge' ? models.includes(model) : models.some(one => one.toLowerCase().includes(model.toLowerCase()))
}

function firstImage (request: GenerationRequest): string | null {
  const image = request.init_images?.[0]
  return typeof image === 'string' ? image : null
}

async function decoded (image: string): Promise<Bitmap | null> {
  try {
    return await decodeImage(readBase64(image))
  } catch (error) {
    if (error instanceof HttpException) return null
    throw error
  }
}

function showThrough (bitmap: Bitmap, map: Bitmap, share: number): Bitmap {
  const fitting = resizeBitmap(map, bitmap)
  const data = Buffer.from(bitmap.data)
  for (let index = 0; index < data.length; index += 1) {
    const from = data[index] as number
    data[index] = from + ((fitting.data[index] as number) - from) * Math.min(1, share)
  }
  return { ...bitmap, data }
}
