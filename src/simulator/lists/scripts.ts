import type { Family } from '../flavors.ts'
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
  readonly family: Family
  readonly controlNet: boolean
  readonly regionalPrompter: boolean
  readonly scripts: readonly string[]
}

/** Built into A1111, and what Forge has in their place. */
const builtIn = ['extra options', 'Hypertile']
const builtIntoForge = [
  'extra options', 'dynamicthresholding (cfg-fix) integrated', 'freeu integrated (sd 1.x, sd 2.x, sdxl)',
  'kohya hrfix integrated', 'latentmodifier integrated', 'multidiffusion integrated', 'never oom integrated',
  'perturbedattentionguidance integrated', 'selfattentionguidance integrated (sd 1.x, sd 2.x, sdxl)',
  'stylealign integrated'
]

/** The scripts of A1111 1.10.1 or Forge, with the names that extensions register where they are installed. */
export function scriptTitles (mode: Mode, settings: Extensions): ScriptTitles {
  const extensions = [
    ...settings.controlNet ? ['controlnet'] : [], ...settings.regionalPrompter ? ['regional prompter'] : [],
    ...settings.scripts, ...settings.family === 'forge' ? builtIntoForge : builtIn
  ]
  if (mode === 'txt2img') {
    return { selectable, alwaysOn: [...extensions, 'refiner', 'sampler', 'seed'] }
  }
  return {
    selectable: selectableImg2img,
    alwaysOn: [...extensions, 'soft inpainting', 'refiner', 'sampler', 'seed']
  }
}
