import type { A1111Parameters } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../lib/errors.ts'
import { withFloatsOf } from '../lib/exact-json.ts'
import type { ResolveName } from './resolve.ts'
import { definedOnly, invalidField, isRecord } from './field-values.ts'
import { bareName, findListed, findNamed, splitHash } from './names.ts'
import type { Inventory } from './types.ts'

/** One slider of a preprocessor. */
interface Slider { readonly value: number, readonly least: number, readonly most: number }

/** The meaning of `threshold_a` and `threshold_b` for a preprocessor; absent if it has no such slider. */
export interface Thresholds { readonly a?: Slider, readonly b?: Slider }

/**
 * Other names for the labels of the extensions: A1111's internal ones, which Forge does not know, and the short ones of
 * mobile clients. If servers differ in a label, the first one that exists counts.
 */
const labels: Readonly<Record<string, readonly string[]>> = {
  anime_face_segment: ['seg_anime_face'],
  clip_vision: ['t2ia_style_clipvision'],
  color: ['t2ia_color_grid'],
  densepose: ['densepose (pruple bg & purple torso)'],
  densepose_parula: ['densepose_parula (black bg & blue torso)'],
  depth: ['depth_midas'],
  hed: ['softedge_hed'],
  hed_safe: ['softedge_hedsafe'],
  inpaint: ['inpaint_global_harmonious'],
  invert: ['invert (from white bg & black line)'],
  'ip-adapter_clip_sd15': ['ip-adapter_clip_h', 'CLIP-ViT-H (IPAdapter)'],
  'ip-adapter_clip_sdxl': ['ip-adapter_clip_g'],
  lineart: ['lineart_realistic'],
  lineart_standard: ['lineart_standard (from white bg & black line)'],
  normal: ['normal_bae', 'normalbae'],
  normal_bae: ['normalbae'],
  normal_map: ['normal_midas'],
  normalbae: ['normal_bae'],
  oneformer_ade20k: ['seg_ofade20k'],
  oneformer_coco: ['seg_ofcoco'],
  openpose: ['openpose_full'],
  pidinet: ['softedge_pidinet'],
  pidinet_safe: ['softedge_pidisafe'],
  pidinet_scribble: ['scribble_pidinet'],
  pidinet_sketch: ['t2ia_sketch_pidi'],
  scribble: ['scribble_pidinet'],
  seg: ['seg_ofade20k'],
  segmentation: ['seg_ufade20k'],
  softedge: ['softedge_pidinet'],
  tile: ['tile_resample']
}

/** A preprocessor by name, label, another name for it or its label without the part in brackets; null if missing. */
export function findControlNetModule (wanted: string, modules: readonly string[]): string | null {
  const plain = wanted.trim().toLowerCase()
  const others = Object.hasOwn(labels, plain) ? labels[plain] ?? [] : []
  return findListed(wanted, modules) ??
    others.map(label => findListed(label, modules)).find(found => found !== null) ??
    modules.find(module => module.toLowerCase().startsWith(`${plain} (`)) ?? null
}

function slider (value: number, least: number, most: number): Slider {
  return { value, least, most }
}

/**
 * Defaults and ranges of the sliders, by label (sd-webui-controlnet 1.1.455). Without a value, A1111 takes these; Forge
 * truncates fractions to 0, and accepts values beyond a range.
 */
const sliders: ReadonlyArray<readonly [RegExp, Thresholds]> = [
  [/^canny$/, { a: slider(100, 1, 255), b: slider(200, 1, 255) }],
  [/^blur_gaussian$/, { a: slider(9, 0.01, 64) }],
  [/^depth_leres/, { a: slider(0, 0, 100), b: slider(0, 0, 100) }],
  [/^mediapipe_face$/, { a: slider(1, 1, 10), b: slider(0.5, 0.01, 1) }],
  [/^mlsd$/, { a: slider(0.1, 0.01, 2), b: slider(0.1, 0.01, 20) }],
  [/^normal_(midas|map)$/, { a: slider(0.4, 0, 1) }],
  [/^recolor_/, { a: slider(1, 0.1, 2) }],
  [/^reference_/, { a: slider(0.5, 0, 1) }],
  [/^revision_/, { a: slider(0, 0, 1) }],
  [/^scribble_xdog$/, { a: slider(32, 1, 64) }],
  [/^softedge_(teed|anyline)$/, { a: slider(2, 0, 10) }],
  [/^threshold$/, { a: slider(127, 0, 255) }],
  [/^tile_resample$/, { a: slider(1, 1, 8) }],
  [/^tile_colorfix$/, { a: slider(8, 3, 32) }],
  [/^tile_colorfix\+sharp$/, { a: slider(8, 3, 32), b: slider(1, 0, 2) }]
]

/** The sliders of a preprocessor, by name or label. */
export function thresholdsOf (module: string): Thresholds {
  return sliders.find(([name]) => name.test(module.trim().toLowerCase()))?.[1] ?? {}
}

/** The value for a slider if it is valid, else the preprocessor's default; undefined without a slider. */
export function thresholdValue (given: unknown, slider: Slider | undefined): number | undefined {
  if (slider === undefined) return undefined
  const value = typeof given === 'string' && given.trim() !== '' ? Number(given) : given
  return typeof value === 'number' && value >= slider.least && value <= slider.most ? value : slider.value
}

type Unit = Readonly<Record<string, unknown>>

/** Forms of a choice: its number in old versions, and its words in present ones. */
const choices: Readonly<Record<string, readonly string[]>> = {
  control_mode: ['Balanced', 'My prompt is more important', 'ControlNet is more important'],
  resize_mode: ['Just Resize', 'Crop and Resize', 'Resize and Fill'],
  hr_option: ['Both', 'Low res only', 'High res only']
}

/** Words of older versions for resizing. */
const oldWords: Readonly<Record<string, string>> = {
  'inner fit (scale to fit)': 'Crop and Resize',
  'scale to fit (inner fit)': 'Crop and Resize',
  'outer fit (shrink to fit)': 'Resize and Fill',
  'envelope (outer fit)': 'Resize and Fill'
}

/**
 * A unit in the words that A1111's extension (from 1.1.448 on) and Forge have in common, in any spelling of a client.
 * A1111 fails the whole request for a number instead of a word; Forge treats it as the first choice, and neither reads
 * an image in `input_image` or a mask in `mask`.
 * @throws ServiceError `invalid_field_value` naming the value that no version accepts
 */
export function commonUnit (unit: Unit, field: string): Record<string, unknown> {
  const { input_image: old, mask, lowvram, image: given, mask_image: maskImage, ...others } = unit
  const { image, mask: inside } = imageAndMask(given ?? old)
  const chosen = Object.fromEntries(Object.keys(choices).map(name => [name, choiceOf(name, unit[name], field)]))
  checkGuidance(unit, field)
  return definedOnly({
    ...others,
    ...chosen,
    enabled: unit.enabled !== false,
    image: image ?? undefined,
    mask_image: maskImage ?? mask ?? inside ?? undefined,
    low_vram: unit.low_vram ?? lowvram
  })
}

/**
 * An image alone, `{ image, mask }` or `[image, mask]`; a list of several stays as it is, since only A1111 knows it.
 */
function imageAndMask (given: unknown): { image: unknown, mask: unknown } {
  if (isRecord(given) && 'image' in given) return { image: given.image, mask: given.mask }
  if (Array.isArray(given) && given.length <= 2 && given.every(one => !isRecord(one) || !('image' in one))) {
    const [image, mask] = given as readonly unknown[]
    return { image, mask }
  }
  return { image: given, mask: undefined }
}

function choiceOf (name: string, value: unknown, field: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined
  const words = choices[name] ?? []
  const text = String(value).trim().toLowerCase()
  const found = /^\d$/.test(text)
    ? words[Number(text)]
    : words.find(word => word.toLowerCase() === text) ?? (name === 'resize_mode' ? oldWords[text] : undefined)
  if (found !== undefined) return found
  throw invalidField(`${field}.${name}`, `${name} is one of ${words.map(word => `"${word}"`).join(', ')}, or its number from 0.`)
}

function checkGuidance ({ guidance_start: start, guidance_end: end, weight }: Unit, field: string): void {
  const within = (name: string, value: unknown, most: number) => {
    if (value === undefined || (typeof value === 'number' && value >= 0 && value <= most)) return
    throw invalidField(`${field}.${name}`, `${name} is a number from 0 to ${most}.`)
  }
  within('weight', weight, 2)
  within('guidance_start', start, 1)
  within('guidance_end', end, 1)
  if (typeof start === 'number' && typeof end === 'number' && start > end) {
    throw invalidField(`${field}.guidance_start`, 'guidance_start must not be greater than guidance_end.')
  }
}

type ControlNetLists = Pick<Inventory, 'controlNetModels' | 'controlNetModules' | 'controlNetUnits' | 'missing'>

/** Titles under which the extension accepts its units. */
const titles = new Set(['controlnet', 'sd_forge_controlnet'])

/** The units in the parameters, unchanged. */
export function controlNetUnitsOf (given: A1111Parameters): ReadonlyArray<Readonly<Record<string, unknown>>> {
  return Object.entries(given.alwayson_scripts ?? {}).flatMap(([title, script]) => {
    const isTheirs = titles.has(title.toLowerCase()) && isRecord(script) && Array.isArray(script.args)
    return isTheirs ? (script.args as unknown[]).filter(isRecord) : []
  })
}

/**
 * The parameters with every ControlNet unit that is switched on in the server's own words. A unit whose model is
 * missing fails inside the extension, and A1111 then answers 200 with an uncontrolled image; the same happens to units
 * beyond the number set at the server.
 */
export function withControlNet (given: A1111Parameters, lists: ControlNetLists, resolve: ResolveName): A1111Parameters {
  const always = given.alwayson_scripts
  if (always === undefined) return given
  const scripts = Object.entries(always).map(([title, script]) => {
    if (!titles.has(title.toLowerCase()) || !isRecord(script) || !Array.isArray(script.args)) return [title, script]
    const field = `alwayson_scripts.${title}.args`
    const args = script.args.flatMap((unit: unknown, index) => {
      if (!isRecord(unit) || unit.enabled === false) return [unit]
      const admitted = checkUnit(unit, `${field}.${index}`, index, lists, resolve)
      return admitted === null ? [] : [withFloatsOf(unit, admitted)]
    })
    return [title, { ...script, args }]
  })
  return { ...given, alwayson_scripts: Object.fromEntries(scripts) as Record<string, unknown> }
}

/** Null for a unit beyond the server's number. */
function checkUnit (
  unit: Readonly<Record<string, unknown>>, field: string, index: number, lists: ControlNetLists, resolve: ResolveName
): Record<string, unknown> | null {
  const most = lists.controlNetUnits ?? Infinity
  const place = resolve({
    wanted: String(index + 1),
    field,
    code: 'server_capability',
    noun: 'ControlNet unit',
    find () {
      if (index < most) return index
      throw new ServiceError('server_capability', `This server accepts ${most} ControlNet units. Allow more in ` +
        'its settings under "Multi-ControlNet: ControlNet unit number".', { field })
    },
    candidates: () => []
  })
  if (place === null) return null
  const common = commonUnit(unit, field)
  const model = unnamed(unit.model) || lists.missing.includes('controlNetModels')
    ? {}
    : {
        model: resolve({
          wanted: String(unit.model),
          field: `${field}.model`,
          code: 'model_not_found',
          noun: 'ControlNet model',
          find: () => findControlNetModel(String(unit.model), lists.controlNetModels),
          candidates: () => lists.controlNetModels
        }) ?? 'None'
      }
  const module = moduleOf(unit.module, field, lists, resolve)
  const { a, b } = thresholdsOf(module ?? '')
  return {
    ...common,
    ...model,
    ...definedOnly<unknown>({
      module, threshold_a: thresholdValue(unit.threshold_a, a), threshold_b: thresholdValue(unit.threshold_b, b)
    })
  }
}

/** A1111 calls no preprocessor `none`, Forge `None`, and each refuses the other's word. */
function moduleOf (wanted: unknown, field: string, lists: ControlNetLists, resolve: ResolveName): string | undefined {
  const { controlNetModules: modules, missing } = lists
  if (missing.includes('controlNetModules')) return typeof wanted === 'string' ? wanted : undefined
  const nothing = findListed('none', modules) ?? 'none'
  if (unnamed(wanted)) return nothing
  return resolve({
    wanted: String(wanted),
    field: `${field}.module`,
    code: 'model_not_found',
    noun: 'ControlNet module',
    find: () => findControlNetModule(String(wanted), modules),
    candidates: () => modules
  }) ?? nothing
}

/** Clients that read `alias_names` give modules by their label, so only meaningful text counts. */
function unnamed (value: unknown): boolean {
  return typeof value !== 'string' || value.trim() === '' || value.trim().toLowerCase() === 'none'
}

/** A model without hash, folder and ending. */
const plainNames = (model: string) => [bareName(splitHash(model, 1).name)]

/**
 * Finds a model with or without the hash after its name, folder and ending; else the shortest name that contains the
 * wanted text, like A1111's extension.
 */
export function findControlNetModel (wanted: string, models: readonly string[]): string | null {
  const [plain = ''] = plainNames(wanted)
  return findListed(wanted, models) ?? findNamed(plain, models, plainNames) ??
    models.filter(model => plain !== '' && model.toLowerCase().includes(plain.toLowerCase()))
      .toSorted((one, other) => one.length - other.length)[0] ?? null
}
