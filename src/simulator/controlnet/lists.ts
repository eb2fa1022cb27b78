interface Slider { readonly name: string, readonly value: number, readonly min: number, readonly max: number }

/** A preprocessor. */
export interface Module {
  readonly name: string
  readonly modelFree: boolean
  readonly sliders: readonly Slider[]
  /** Control types that offer it besides All. */
  readonly types: readonly string[]
}

const resolution: Slider = { name: 'Resolution', value: 512, min: 64, max: 2048 }

function module (name: string, types: readonly string[], sliders: readonly Slider[] = [resolution]): Module {
  return { name, modelFree: name.startsWith('reference'), sliders, types }
}

function threshold (name: string, value: number): Slider {
  return { name, value, min: 1, max: 255 }
}

/** A choice of preprocessors, one or more for each common control type. */
export const modules: readonly Module[] = [
  module('none', [], []),
  module('canny', ['Canny'], [resolution, threshold('Low Threshold', 100), threshold('High Threshold', 200)]),
  module('depth_midas', ['Depth']),
  module('depth_zoe', ['Depth']),
  module('lineart_realistic', ['Lineart']),
  module('lineart_anime', ['Lineart']),
  module('mlsd', ['MLSD'], [resolution]),
  module('normal_bae', ['NormalMap']),
  module('openpose', ['OpenPose']),
  module('openpose_full', ['OpenPose']),
  module('scribble_pidinet', ['Scribble']),
  module('seg_ofade20k', ['Segmentation']),
  module('softedge_pidinet', ['SoftEdge']),
  module('tile_resample', ['Tile'], [{ name: 'Down Sampling Rate', value: 1, min: 1, max: 8 }]),
  module('inpaint_only', ['Inpaint'], []),
  module('reference_only', ['Reference'], [{ name: 'Style Fidelity', value: 0.5, min: 0, max: 1 }]),
  module('ip-adapter-auto', ['IP-Adapter'], [])
]

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
  'control_v11f1e_sd15_tile [a371b31b]'
]

/** The answer of GET /controlnet/control_types: for each type what fits it and what is picked first. */
export function controlTypes (): Record<string, unknown> {
  const types = ['All', ...new Set(modules.flatMap(one => one.types))]
  return Object.fromEntries(types.map(type => {
    const fitting = modules.filter(one => type === 'All' || one.name === 'none' || one.types.includes(type))
    const fittingModels = models.filter(model => type === 'All' || model.includes(type.toLowerCase()))
    return [type, {
      module_list: fitting.map(one => one.name),
      model_list: ['None', ...fittingModels],
      default_option: type === 'All' ? 'none' : fitting[1]?.name ?? 'none',
      default_model: type === 'All' ? 'None' : fittingModels[0] ?? 'None'
    }]
  }))
}
