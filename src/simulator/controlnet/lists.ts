import type { Family } from '../flavors.ts'

/** Forge's preprocessors by rank, with the control types that offer them. Within a rank the last name comes first. */
const ranks: ReadonlyArray<Readonly<Record<string, readonly string[]>>> = [
  {
    canny: ['Canny'],
    depth_marigold: ['Depth'],
    depth_midas: ['Depth'],
    'lineart_standard (from white bg & black line)': ['Lineart'],
    mlsd: ['MLSD'],
    normalbae: ['NormalMap'],
    openpose_full: ['OpenPose'],
    reference_only: ['Reference'],
    scribble_pidinet: ['Scribble', 'Sketch'],
    seg_ofade20k: ['Segmentation'],
    shuffle: ['Shuffle'],
    softedge_pidinet: ['SoftEdge']
  },
  {
    'CLIP-ViT-H (IPAdapter)': ['IP-Adapter'],
    'CLIP-ViT-bigG (IPAdapter)': ['IP-Adapter'],
    'InsightFace+CLIP-H (IPAdapter)': ['IP-Adapter'],
    'invert (from white bg & black line)': ['Canny', 'Lineart', 'Scribble', 'Sketch', 'MLSD']
  },
  { 'InsightFace (InstantID)': ['Instant-ID'] },
  { 'CLIP-G (Revision)': ['Revision'], 'CLIP-G (Revision ignore prompt)': ['Revision'] },
  {
    blur_gaussian: ['Tile', 'Blur'],
    depth_anything_v2: ['Depth'],
    depth_leres: ['Depth'],
    depth_zoe: ['Depth'],
    dw_openpose_full: ['OpenPose'],
    inpaint_global_harmonious: ['Inpaint'],
    inpaint_only: ['Inpaint'],
    'inpaint_only+lama': ['Inpaint'],
    instant_id_face_keypoints: ['Instant-ID'],
    lineart_anime: ['Lineart'],
    lineart_coarse: ['Lineart'],
    lineart_realistic: ['Lineart'],
    normal_midas: ['NormalMap'],
    openpose: ['OpenPose'],
    openpose_hand: ['OpenPose'],
    recolor_intensity: ['Recolor'],
    recolor_luminance: ['Recolor'],
    reference_adain: ['Reference'],
    'reference_adain+attn': ['Reference'],
    scribble_hed: ['Scribble', 'Sketch'],
    scribble_xdog: ['Scribble', 'Sketch'],
    seg_ufade20k: ['Segmentation'],
    softedge_hed: ['SoftEdge'],
    t2ia_color_grid: ['T2I-Adapter'],
    t2ia_sketch_pidi: ['T2I-Adapter'],
    threshold: [],
    tile_colorfix: ['Tile'],
    'tile_colorfix+sharp': ['Tile'],
    tile_resample: ['Tile']
  }
]

function byName ([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? 1 : -1
}

/** In the order in which Forge lists them; None comes first. */
const forgeModules: readonly Module[] = [
  ['None', []] as const, ...ranks.flatMap(rank => Object.entries(rank).sort(byName))
].map(([name, types]) => ({
  name,
  label: name,
  modelFree: name.startsWith('reference'),
  makesMap: !/CLIP|InsightFace/.test(name),
  needsMask: name.startsWith('inpaint'),
  sliders: [],
  types
}))

interface Slider { readonly name: string, readonly value: number, readonly min: number, readonly max: number }

/** A preprocessor. */
export interface Module {
  /** As requests may name it at A1111's extension only. */
  readonly name: string
  /** As the user interfaces show it; at Forge the only name. */
  readonly label: string
  /** Works without a model. */
  readonly modelFree: boolean
  /** Makes an image of its own from the control image. */
  readonly makesMap: boolean
  readonly needsMask: boolean
  readonly sliders: readonly Slider[]
  /** Control types that offer it besides All. */
  readonly types: readonly string[]
}

const resolution: Slider = { name: 'Resolution', value: 512, min: 64, max: 2048 }

function slider (name: string, value: number, min: number, max: number): Slider {
  return { name, value, min, max }
}

function module (
  name: string, types: readonly string[],
  more: { readonly label?: string, readonly sliders?: readonly Slider[] } = {}
): Module {
  const { label = name, sliders = [resolution] } = more
  return {
    name,
    label,
    modelFree: name.startsWith('reference'),
    makesMap: !/^(ip-adapter|clip)/.test(name),
    needsMask: name.startsWith('inpaint'),
    sliders,
    types
  }
}

/** A choice of preprocessors, one or more for each common control type. */
const a1111Modules: readonly Module[] = [
  module('none', [], { sliders: [] }),
  module('canny', ['Canny'], {
    sliders: [resolution, slider('Low Threshold', 100, 1, 255), slider('High Threshold', 200, 1, 255)]
  }),
  module('depth', ['Depth'], { label: 'depth_midas' }),
  module('depth_leres', ['Depth'], {
    sliders: [resolution, slider('Remove Near %', 0, 0, 100), slider('Remove Background %', 0, 0, 100)]
  }),
  module('depth_zoe', ['Depth']),
  module('invert', ['Lineart'], { label: 'invert (from white bg & black line)', sliders: [] }),
  module('lineart', ['Lineart'], { label: 'lineart_realistic' }),
  module('lineart_anime', ['Lineart']),
  module('lineart_standard', ['Lineart'], { label: 'lineart_standard (from white bg & black line)' }),
  module('mlsd', ['MLSD'], {
    sliders: [resolution, slider('Value Threshold', 0.1, 0.01, 2), slider('Distance Threshold', 0.1, 0.01, 20)]
  }),
  module('normal_bae', ['NormalMap']),
  module('openpose', ['OpenPose']),
  module('openpose_full', ['OpenPose']),
  module('pidinet', ['SoftEdge'], { label: 'softedge_pidinet' }),
  module('pidinet_scribble', ['Scribble'], { label: 'scribble_pidinet' }),
  module('scribble_xdog', ['Scribble'], { sliders: [resolution, slider('XDoG Threshold', 32, 1, 64)] }),
  module('oneformer_ade20k', ['Segmentation'], { label: 'seg_ofade20k' }),
  module('threshold', ['T2I-Adapter'], { sliders: [resolution, slider('Binarization Threshold', 127, 0, 255)] }),
  module('tile_resample', ['Tile'], { sliders: [slider('Down Sampling Rate', 1, 1, 8)] }),
  module('inpaint_only', ['Inpaint'], { sliders: [] }),
  module('inpaint', ['Inpaint'], { label: 'inpaint_global_harmonious', sliders: [] }),
  module('reference_only', ['Reference'], { sliders: [slider('Style Fidelity', 0.5, 0, 1)] }),
  module('ip-adapter-auto', ['IP-Adapter'], { sliders: [] })
]

export function modulesOf (family: Family): readonly Module[] {
  return family === 'forge' ? forgeModules : a1111Modules
}

/** A preprocessor by its name in a request; undefined if the extension does not know it. */
export function findModule (family: Family, wanted: string): Module | undefined {
  return modulesOf(family).find(({ name, label }) => name === wanted || label === wanted)
}

/** Preprocessors that the detect route refuses. */
export const unsupportedModules: readonly string[] = [
  'clip_vision', 'revision_clipvision', 'revision_ignore_prompt', 'ip-adapter-auto'
]

/** Installed models, named as the extension names them. */
export const models: readonly string[] = [
  'control_v11p_sd15_canny [d14c016b]',
  'control_v11f1p_sd15_depth [cfd03158]',
  'control_v11p_sd15_lineart [43d4be0d]',
  'control_v11p_sd15_openpose [cab727d4]',
  'control_v11p_sd15_scribble [d4ba51ff]',
  'control_v11p_sd15_inpaint [ebff9138]',
  'control_v11f1e_sd15_tile [a371b31b]',
  'control_canny-fp16 [e3fe7712]',
  'control_depth-fp16 [400750f6]',
  'control_openpose-fp16 [9ca67cbd]'
]

/** Words in the file names of a control type's models, if they differ from the type itself. */
const modelWords: Readonly<Record<string, readonly string[]>> = {
  NormalMap: ['normal'], Segmentation: ['seg'], 'T2I-Adapter': ['t2i_adapter', 't2iadapter'], 'IP-Adapter': ['ip-adapter', 'ip_adapter']
}

/** The types of Forge. All has a default that is not among its modules. */
function forgeControlTypes (): Record<string, unknown> {
  const types = [...new Set(forgeModules.flatMap(one => one.types))].sort()
  const entry = (type: string): Record<string, unknown> => {
    const fitting = forgeModules.filter(one => one.types.includes(type)).map(one => one.name)
    const words = modelWords[type] ?? [type.toLowerCase()]
    const fittingModels = models.filter(model => words.some(word => model.toLowerCase().includes(word)))
    return {
      module_list: ['None', ...fitting],
      model_list: ['None', ...fittingModels],
      default_option: fitting[0],
      default_model: fittingModels.find(model => model.split('[')[0]?.includes('11')) ?? fittingModels[0] ?? 'None'
    }
  }
  const all = {
    module_list: forgeModules.map(one => one.name),
    model_list: ['None', ...models],
    default_option: 'none',
    default_model: 'None'
  }
  return { All: all, ...Object.fromEntries(types.map(type => [type, entry(type)])) }
}

/** The answer of GET /controlnet/control_types: for each type the matching names and the default. */
export function controlTypes (family: Family): Record<string, unknown> {
  if (family === 'forge') return forgeControlTypes()
  const [nothing, ...modules] = modulesOf(family)
  const types = ['All', ...new Set(modules.flatMap(one => one.types))]
  return Object.fromEntries(types.map(type => {
    const fitting = modules.filter(one => type === 'All' || one.types.includes(type))
    const fittingModels = models.filter(model => type === 'All' || model.includes(type.toLowerCase()))
    const none = nothing?.label ?? 'none'
    return [type, {
      module_list: [none, ...fitting.map(one => one.label)],
      model_list: ['None', ...fittingModels],
      default_option: type === 'All' ? none : fitting[0]?.label ?? none,
      default_model: type === 'All' ? 'None' : fittingModels[0] ?? 'None'
    }]
  }))
}
