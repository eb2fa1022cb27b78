import { findListed } from './model-names.ts'

/** One slider of a preprocessor. */
interface Slider { readonly value: number, readonly least: number, readonly most: number }

/** What `threshold_a` and `threshold_b` are for a preprocessor; absent where it has no such slider. */
export interface Thresholds { readonly a?: Slider, readonly b?: Slider }

/**
 * Other names for what the extensions show: A1111's internal ones, which Forge does not know, and the short ones of
 * mobile clients. Where servers differ in a label, the first that is there counts.
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

/** A preprocessor by name, label, another name for it or its label without what stands in brackets; null if missing. */
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
 * cuts fractions off and turns them into 0, and takes values beyond a range as they are.
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

/** The value for a slider where it fits, else the preprocessor's default; undefined without a slider. */
export function thresholdValue (given: unknown, slider: Slider | undefined): number | undefined {
  if (slider === undefined) return undefined
  const value = typeof given === 'string' && given.trim() !== '' ? Number(given) : given
  return typeof value === 'number' && value >= slider.least && value <= slider.most ? value : slider.value
}
