import type { Mode } from '../../a1111/request-model.ts'
import type { Family } from '../flavors.ts'
import type { ServerProcess } from '../server-process.ts'
import { upscalersOf } from './files.ts'

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

/** Optional extensions. */
export interface Extensions {
  readonly family: Family
  readonly controlNet: boolean
  readonly regionalPrompter: boolean
  readonly scripts: readonly string[]
}

/** Built into A1111, and Forge's replacements. */
const builtIn = ['extra options', 'Hypertile']
const builtIntoForge = [
  'extra options', 'dynamicthresholding (cfg-fix) integrated', 'freeu integrated (sd 1.x, sd 2.x, sdxl)',
  'kohya hrfix integrated', 'latentmodifier integrated', 'multidiffusion integrated', 'never oom integrated',
  'perturbedattentionguidance integrated', 'selfattentionguidance integrated (sd 1.x, sd 2.x, sdxl)',
  'stylealign integrated'
]

/** The scripts of A1111 1.10.1 or Forge, with the names that installed extensions register. */
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

/** Differences between servers in the choices of an input. */
interface ScriptChoices {
  readonly family: Family
  readonly checkpoints: readonly string[]
  readonly samplers: readonly string[]
  readonly schedulers: readonly string[]
  readonly upscalers: readonly string[]
}

/** One positional argument of a script: the label and bounds of its input. */
export interface ScriptArgument {
  readonly label: string
  readonly value: unknown
  readonly minimum: number | null
  readonly maximum: number | null
  readonly step: number | null
  readonly choices: readonly string[] | null
}

function input (label: string, value: unknown, bounds: Partial<ScriptArgument> = {}): ScriptArgument {
  return { label, value, minimum: null, maximum: null, step: null, choices: null, ...bounds }
}

function slider (label: string, value: number, minimum: number, maximum: number, step: number): ScriptArgument {
  return input(label, value, { minimum, maximum, step })
}

function choice (label: string, value: unknown, choices: readonly string[]): ScriptArgument {
  return input(label, value, { choices })
}

const whole = (label: string, value: number): ScriptArgument => input(label, value, { step: 1 })
const note = (value: string): ScriptArgument => input('', value)
const sides = ['left', 'right', 'up', 'down']

const axes = [
  'Nothing', 'Seed', 'Var. seed', 'Var. strength', 'Steps', 'CFG Scale', 'Prompt S/R', 'Prompt order', 'Sampler',
  'Checkpoint name', 'Schedule type', 'Eta', 'Clip skip', 'Denoising', 'VAE', 'Styles', 'Size'
]
const hiresAxes = ['Hires steps', 'Hires sampler', 'Hires upscaler']

function plotArguments (mode: Mode): ScriptArgument[] {
  const choices = mode === 'txt2img' ? [...axes, ...hiresAxes] : axes
  const axis = (name: string, value: string): ScriptArgument[] => [
    choice(`${name} type`, value, choices), input(`${name} values`, ''), choice(`${name} values`, null, [])
  ]
  return [
    ...axis('X', 'Seed'), ...axis('Y', 'Nothing'), ...axis('Z', 'Nothing'),
    input('Draw legend', true), input('Include Sub Images', false), input('Include Sub Grids', false),
    input('Keep -1 for seeds', false), input('Vary seeds for X', false), input('Vary seeds for Y', false),
    input('Vary seeds for Z', false), slider('Grid margins (px)', 0, 0, 500, 2),
    input('Use text inputs instead of dropdowns', false)
  ]
}

/** The arguments of a script, in their order; empty for those that have none. */
export function scriptArguments (title: string, mode: Mode, choices: ScriptChoices): ScriptArgument[] {
  return argumentsByTitle[title]?.(mode, choices) ?? []
}

/** Options of the Regional Prompter. */
const regionalOptions = [
  "disable convert 'AND' to 'BREAK'", 'Use LoHa or other', 'Use BREAK to change chunks', 'Flip prompts',
  'Comment Out `#`', 'debug', 'debug2'
]

type Describe = (mode: Mode, choices: ScriptChoices) => ScriptArgument[]

const argumentsByTitle: Readonly<Record<string, Describe>> = {
  'prompt matrix': () => [
    input('Put variable parts at start of prompt', false), input('Use different seed for each picture', false),
    choice('Select prompt', 'positive', ['positive', 'negative']), choice('Select joining char', 'comma', ['comma', 'space']),
    slider('Grid margins (px)', 0, 0, 500, 2)
  ],
  'prompts from file or textbox': (_mode, { family }) => [
    input('Iterate seed every line', false), input('Use same random seed for all lines', false),
    choice('Insert prompts at the', 'start', ['start', 'end']), input('List of prompt inputs', ''),
    ...family === 'forge' ? [input('Make a combined image containing all outputs (if more than one)', false)] : []
  ],
  'x/y/z plot': plotArguments,
  refiner: (_mode, { checkpoints }) => [
    input('Refiner', false), choice('Checkpoint', '', checkpoints), slider('Switch at', 0.8, 0.01, 1, 0.01)
  ],
  sampler: (_mode, { samplers, schedulers }) => [
    slider('Sampling steps', 20, 1, 150, 1), choice('Sampling method', 'DPM++ 2M', samplers),
    choice('Schedule type', 'Automatic', schedulers)
  ],
  seed: () => [
    whole('Seed', -1), input('Extra', false), whole('Variation seed', -1), slider('Variation strength', 0, 0, 1, 0.01),
    slider('Resize seed from width', 0, 0, 2048, 8), slider('Resize seed from height', 0, 0, 2048, 8)
  ],
  'img2img alternative test': () => [
    note('CFG Scale of 2 or lower.'), input('Override `Sampling method` to Euler?(this method is built for it)', true),
    input('Override `prompt` to the same value as `original prompt`?(and `negative prompt`)', true),
    input('Original prompt', ''), input('Original negative prompt', ''),
    input('Override `Sampling Steps` to the same value as `Decode steps`?', true), slider('Decode steps', 50, 1, 150, 1),
    input('Override `Denoising strength` to 1?', true), slider('Decode CFG scale', 1, 0, 15, 0.1),
    slider('Randomness', 0, 0, 1, 0.01), input('Sigma adjustment for finding noise for image', false)
  ],
  loopback: () => [
    slider('Loops', 4, 1, 32, 1), slider('Final denoising strength', 0.5, 0, 1, 0.01),
    choice('Denoising strength curve', 'Linear', ['Aggressive', 'Linear', 'Lazy']),
    choice('Append interrogated prompt at each iteration', 'None', ['None', 'CLIP', 'DeepBooru'])
  ],
  'outpainting mk2': () => [
    note('80 to 100 steps of Euler a.'), slider('Pixels to expand', 128, 8, 256, 8), slider('Mask blur', 8, 0, 64, 1),
    choice('Outpainting direction', sides, sides), slider('Fall-off exponent (lower=higher detail)', 1, 0, 4, 0.01),
    slider('Color variation', 0.05, 0, 1, 0.01)
  ],
  "poor man's outpainting": () => [
    slider('Pixels to expand', 128, 8, 256, 8), slider('Mask blur', 4, 0, 64, 1),
    choice('Masked content', 'fill', ['fill', 'original', 'latent noise', 'latent nothing']),
    choice('Outpainting direction', sides, sides)
  ],
  'sd upscale': (_mode, { upscalers }) => [
    note('Width and height are those of a tile.'), slider('Tile overlap', 64, 0, 256, 16),
    choice('Upscaler', 'None', upscalers), slider('Scale Factor', 2, 1, 4, 0.05)
  ],
  'soft inpainting': () => [
    input('Soft inpainting', false), slider('Schedule bias', 1, 0, 8, 0.1), slider('Preservation strength', 0.5, 0, 8, 0.05),
    slider('Transition contrast boost', 4, 1, 32, 0.5), slider('Mask influence', 0, 0, 1, 0.05),
    slider('Difference threshold', 0.5, 0, 8, 0.25), slider('Difference contrast', 2, 0, 8, 0.25)
  ],
  controlnet: () => ['Unit 0', 'Unit 1', 'Unit 2'].map(label => input(label, null)),
  'regional prompter': () => [
    input('Regional Prompter', false), input('', false), input('', 'Matrix'),
    choice('Main Splitting', 'Columns', ['Columns', 'Rows', 'Random']), choice('Mask mode', 'Mask', ['Mask']),
    choice('Prompt mode', 'Prompt', ['Prompt', 'Prompt-Ex']), input('Divide Ratio', '1,1'), input('Base Ratio', '0.2'),
    input('Use base prompt', false), input('Use common prompt', false), input('Use common negative prompt', false),
    choice('Generation Mode', 'Attention', ['Attention', 'Latent']), choice('Options', [], regionalOptions),
    input('LoRA in negative textencoder', '0'), input('LoRA in negative U-net', '0'), input('threshold', 0.4),
    input('', null), input('LoRA stop step', '0'), input('LoRA Hires stop step', '0'), input('flip "," and ";"', false)
  ]
}

/** Scripts that register no inputs and so do not show up here. */
const withoutInfo = ['Hypertile']

/** Choices of scripts' inputs at this server. */
export function choicesOf ({ machine, checkpoints, lists }: ServerProcess): ScriptChoices {
  const { family } = machine.settings
  return {
    family,
    checkpoints: checkpoints.list().map(checkpoints.title),
    samplers: lists.samplers.map(one => one.name),
    schedulers: lists.schedulers.map(one => one.label),
    upscalers: upscalersOf(family).map(one => one.name)
  }
}

/** GET /sdapi/v1/script-info: every script with the inputs of its positional arguments. */
export function describeScripts (server: ServerProcess): ReadonlyArray<Record<string, unknown>> {
  const { machine } = server
  const choices = choicesOf(server)
  return (['txt2img', 'img2img'] as const).flatMap(mode => {
    const { selectable, alwaysOn } = scriptTitles(mode, machine.settings)
    return [...selectable, ...alwaysOn].filter(name => !withoutInfo.includes(name)).map(name => ({
      name,
      is_alwayson: alwaysOn.includes(name),
      is_img2img: mode === 'img2img',
      args: scriptArguments(name, mode, choices)
    }))
  })
}
