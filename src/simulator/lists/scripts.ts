import type { Mode } from '../generation/request.ts'

export interface ScriptTitles {
  /** At most one of these is chosen by `script_name`. */
  readonly selectable: readonly string[]
  /** Reached through `alwayson_scripts`. */
  readonly alwaysOn: readonly string[]
}

const selectable = ['prompt matrix', 'prompts from file or textbox', 'x/y/z plot']
const selectableImg2img = [
  'img2img alternative test', 'loopback', 'outpainting mk2', "poor man's outpainting", 'prompt matrix',
  'prompts from file or textbox', 'sd upscale', 'x/y/z plot'
]

/** Extensions that may be missing. */
export interface Extensions {
  readonly controlNet: boolean
  readonly regionalPrompter: boolean
  readonly scripts: readonly string[]
}

/** The scripts of A1111 1.10.1, with the names that extensions register where they are installed. */
export function scriptTitles (mode: Mode, settings: Extensions): ScriptTitles {
  const extensions = [
    ...settings.controlNet ? ['controlnet'] : [], ...settings.regionalPrompter ? ['regional prompter'] : [],
    ...settings.scripts
  ]
  if (mode === 'txt2img') {
    return { selectable, alwaysOn: [...extensions, 'extra options', 'Hypertile', 'refiner', 'sampler', 'seed'] }
  }
  return {
    selectable: selectableImg2img,
    alwaysOn: [...extensions, 'extra options', 'Hypertile', 'soft inpainting', 'refiner', 'sampler', 'seed']
  }
}
