import type { GenerationRequest, Mode } from '../../a1111/request-model.ts'
import { effectiveSchedule, pickSampler, type Sampler } from '../../a1111/sampler-defaults.ts'
import { PythonError } from '../../fastapi/errors.ts'
import { textsOf } from '../../lib/json-values.ts'
import { randomSeed, largestSeed, lowestTorchSeed, type Seed, seedAfter } from '../../lib/seeds.ts'
import { requireLoosely } from '../checkpoints.ts'
import { applyStyles, latentUpscaleModes, upscalersOf } from '../lists/files.ts'
import type { ServerProcess } from '../server-process.ts'
import { selectedArguments } from './scripts.ts'

/** The second pass of txt2img. */
interface HiresPlan {
  readonly width: number
  readonly height: number
  readonly steps: number
}

/**
 * Resolves `enable_hr` with its parameters, and adds it to the extra parameters; null without it.
 *
 * @throws PythonError for an unknown upscaler or checkpoint, or without `denoising_strength`
 */
function planHires (
  server: ServerProcess, request: GenerationRequest, extra: Record<string, unknown>
): HiresPlan | null {
  if (request.enable_hr !== true) return null
  if (request.hr_checkpoint_name && request.hr_checkpoint_name !== 'Use same checkpoint') {
    const file = requireLoosely(server.checkpoints, request.hr_checkpoint_name)
    extra['Hires checkpoint'] = server.checkpoints.title(file)
  }
  if (request.hr_sampler_name && request.hr_sampler_name !== request.sampler_name) {
    extra['Hires sampler'] = request.hr_sampler_name
  }
  const upscaler = request.hr_upscaler ?? null
  const isKnown = upscaler === null || latentUpscaleModes.includes(upscaler) ||
    upscalersOf(server.machine.settings.family).some(one => one.name === upscaler)
  if (!isKnown) throw new PythonError('Exception', `could not find upscaler named ${upscaler}`)
  if (server.machine.settings.family === 'forge' && request.hr_additional_modules == null) {
    throw new PythonError('TypeError', "argument of type 'NoneType' is not iterable")
  }
  if (request.denoising_strength === null) {
    throw new PythonError('TypeError', "'<' not supported between instances of 'NoneType' and 'float'")
  }
  const size = targetSize(request)
  Object.assign(extra, {
    'Denoising strength': request.denoising_strength,
    'Hires prompt': request.hr_prompt || null,
    'Hires negative prompt': request.hr_negative_prompt || null,
    'Hires schedule type': null,
    ...size.note
  })
  if (request.hr_second_pass_steps) extra['Hires steps'] = request.hr_second_pass_steps
  if (upscaler !== null) extra['Hires upscaler'] = upscaler
  return {
    width: Math.floor(size.width / 8) * 8,
    height: Math.floor(size.height / 8) * 8,
    steps: request.hr_second_pass_steps || request.steps
  }
}

function targetSize (request: GenerationRequest): { width: number, height: number, note: Record<string, unknown> } {
  const { width, height } = request
  const scale = request.hr_scale ?? 2
  const [x, y] = [request.hr_resize_x ?? 0, request.hr_resize_y ?? 0]
  if (x === 0 && y === 0) {
    return { width: Math.trunc(width * scale), height: Math.trunc(height * scale), note: { 'Hires upscale': scale } }
  }
  return {
    width: x || Math.trunc(width * y / height),
    height: y || Math.trunc(height * x / width),
    note: { 'Hires resize': `${x}x${y}` }
  }
}

/** A selectable script's effect on one request: a prompt for each image, and whether a grid comes first. */
export interface ScriptRun {
  readonly prompts: readonly string[]
  /** Added to the first seed for each prompt. */
  readonly seedOffsets: readonly number[]
  readonly hasGrid: boolean
  /** Whether the images themselves are returned, and not only their grid. */
  readonly hasImages: boolean
}

/**
 * The scripts that multiply a request; null for every other script, which then changes nothing. They are why an answer
 * can hold more images than `batch_size` × `n_iter`, or fewer.
 */
function runScript (request: GenerationRequest, prompt: string): ScriptRun | null {
  const name = request.script_name?.toLowerCase()
  if (name === 'x/y/z plot') return plot(prompt, request)
  if (name === 'prompt matrix') return promptMatrix(prompt, request.script_args)
  if (name === 'prompts from file or textbox') return promptLines(prompt, request.script_args)
  return null
}

/** Position of "Prompt S/R" among the axes of A1111's list for txt2img, and of Forge's. */
const searchAxes: readonly unknown[] = [7, 8]

/** Place of "Include Sub Images" among the plot's arguments. */
const includesImages = 10

/** The values are only counted, but the plot's most frequent failure is simulated. */
function plot (prompt: string, { negative_prompt: negative, script_args: given }: GenerationRequest): ScriptRun {
  for (const at of [0, 3, 6]) {
    const [first = ''] = String(given[at + 1] ?? '').split(',').map(part => part.trim())
    if (!searchAxes.includes(given[at]) || first === '' || `${prompt} ${negative ?? ''}`.includes(first)) continue
    throw new PythonError('RuntimeError', `Prompt S/R did not find ${first} in prompt or negative prompt.`)
  }
  const counts = [0, 3, 6].map(at => given[at] === 0 || given[at] === undefined
    ? 1
    : Math.max(String(given[at + 1] ?? '').split(',').length, textsOf(given[at + 2]).length))
  const cells = counts.reduce((product, count) => product * count, 1)
  return {
    prompts: new Array<string>(cells).fill(prompt),
    seedOffsets: new Array<number>(cells).fill(0),
    hasGrid: true,
    hasImages: given[includesImages] !== false
  }
}

/** `fixed|one|two`: every combination of the parts behind the first bar, and a grid of them all. */
function promptMatrix (
  prompt: string, [isPutFirst, isSeedVaried, kind = 'positive', delimiter = 'comma']: readonly unknown[]
): ScriptRun {
  if (kind !== 'positive' && kind !== 'negative') throw new PythonError('ValueError', `Unknown prompt type ${String(kind)}`)
  if (delimiter !== 'comma' && delimiter !== 'space') {
    throw new PythonError('ValueError', `Unknown variations delimiter ${String(delimiter)}`)
  }
  const [fixed = '', ...parts] = prompt.split('|').map(part => part.trim())
  const prompts = Array.from({ length: 2 ** parts.length }, (_, combination) => {
    const chosen = parts.filter((_part, bit) => (combination >> bit) % 2 === 1)
    return (isPutFirst === true ? [...chosen, fixed] : [fixed, ...chosen]).join(', ')
  })
  const seedOffsets = prompts.map((_, index) => isSeedVaried === true ? index : 0)
  return { prompts, seedOffsets, hasGrid: true, hasImages: true }
}

/** One generation for each line that is not empty, with the request's own prompt before or behind it. */
function promptLines (prompt: string, [isSeedIterated, , where, text]: readonly unknown[]): ScriptRun {
  const lines = String(text ?? '').split('\n').map(line => line.trim()).filter(line => line !== '')
  const prompts = (lines.length > 0 ? lines : ['']).map(line => {
    const parts = where === 'end' ? [line, prompt] : [prompt, line]
    return parts.filter(part => part !== '').join(' ')
  })
  const seedOffsets = prompts.map((_, index) => isSeedIterated === true ? index : 0)
  return { prompts, seedOffsets, hasGrid: false, hasImages: true }
}

/**
 * -1 and null become a random seed, everything else is taken literally. Each image of a request has the seed of the one
 * before plus 1, unless a variation strength varies it by the subseed alone.
 *
 * @throws PythonError for values that PyTorch's generator does not take
 */
function resolveSeeds (
  request: Pick<GenerationRequest, 'seed' | 'subseed' | 'subseed_strength'>, images: number
): { seeds: Seed[], subseeds: Seed[] } {
  const seed = fixed(request.seed)
  const subseed = fixed(request.subseed)
  const varies = (request.subseed_strength ?? 0) !== 0
  const seeds = Array.from({ length: images }, (_, index) => seedAfter(seed, varies ? 0 : index))
  const subseeds = Array.from({ length: images }, (_, index) => seedAfter(subseed, index))
  if ([...seeds, ...varies ? subseeds : []].some(used => used < lowestTorchSeed || used > largestSeed)) {
    throw new PythonError('RuntimeError', 'Overflow when unpacking long')
  }
  return { seeds, subseeds }
}

function fixed (seed: Seed | null): Seed {
  return seed === null || seed === -1 ? randomSeed(below => Math.floor(Math.random() * below)) : seed
}

/** A generation with everything resolved. */
export interface Plan {
  readonly mode: Mode
  readonly prompts: readonly string[]
  readonly negativePrompts: readonly string[]
  readonly styles: readonly string[]
  readonly seeds: readonly Seed[]
  readonly subseeds: readonly Seed[]
  readonly subseedStrength: number
  readonly sampler: Sampler
  /** As the answer names it: "Automatic" unless another one was asked for. */
  readonly schedulerLabel: string
  readonly steps: number
  readonly cfgScale: number
  /** As asked for. */
  readonly width: number
  readonly height: number
  /** Size of the first pass: rounded down to multiples of 8. */
  readonly imageWidth: number
  readonly imageHeight: number
  readonly batchSize: number
  readonly iterations: number
  readonly denoisingStrength: number | null
  /** Steps that sampling really takes. */
  readonly samplingSteps: number
  readonly hires: HiresPlan | null
  readonly extraParameters: Record<string, unknown>
  /** A script wants a grid in front, whatever the request says. */
  readonly isGridForced: boolean
  /** A script gives its grid alone. */
  readonly isGridAlone: boolean
}

/**
 * Resolves a request the way A1111's processing does, with the exceptions that bad values raise there.
 *
 * @throws PythonError
 */
export function planGeneration (
  server: ServerProcess, request: GenerationRequest, mode: Mode, initImageCount: number
): Plan {
  const { sampler, schedulerLabel } = pickSampler(
    server.lists, request.sampler_name || request.sampler_index, request.scheduler
  )
  rejectImpossible(request, mode)
  const extraParameters: Record<string, unknown> = {}
  const hires = planHires(server, request, extraParameters)
  const schedule = effectiveSchedule(server.lists, sampler, schedulerLabel)
  if (schedule !== null) extraParameters['Schedule type'] = schedule
  if (mode === 'img2img') describeImg2img(request, extraParameters)
  if (request.refiner_checkpoint && request.refiner_checkpoint !== 'None' && request.refiner_switch_at !== null) {
    const refiner = requireLoosely(server.checkpoints, request.refiner_checkpoint)
    extraParameters.Refiner = server.checkpoints.title(refiner)
    extraParameters['Refiner switch at'] = request.refiner_switch_at
  }
  const batchSize = mode === 'img2img' ? matchBatch(initImageCount, request.batch_size) : request.batch_size
  const styled = applyStyles(request.prompt ?? '', request.negative_prompt ?? '', request.styles ?? [])
  const script = runScript({ ...request, script_args: selectedArguments(server, request, mode) }, styled.prompt)
  const perPrompt = batchSize * request.n_iter
  const prompts = (script?.prompts ?? [styled.prompt]).flatMap(prompt => new Array<string>(perPrompt).fill(prompt))
  const resolved = resolveSeeds(request, perPrompt)
  const seeds = (script?.seedOffsets ?? [0]).flatMap(offset => resolved.seeds.map(seed => seedAfter(seed, offset)))
  return {
    mode,
    prompts,
    negativePrompts: prompts.map(() => styled.negativePrompt),
    styles: request.styles ?? [],
    seeds,
    subseeds: prompts.map((_, index) => seedAfter(resolved.subseeds[0] ?? 0, index)),
    subseedStrength: request.subseed_strength ?? 0,
    sampler,
    schedulerLabel,
    steps: request.steps,
    cfgScale: request.cfg_scale,
    width: request.width,
    height: request.height,
    imageWidth: floor8(request.width),
    imageHeight: floor8(request.height),
    batchSize,
    iterations: prompts.length / batchSize,
    denoisingStrength: request.denoising_strength,
    samplingSteps: countSteps(server, request, mode),
    hires,
    extraParameters,
    isGridForced: script?.hasGrid ?? false,
    isGridAlone: script?.hasImages === false
  }
}

/** A1111's failures, in its own words; it checks none of them beforehand. */
function rejectImpossible (request: GenerationRequest, mode: Mode): void {
  if (request.prompt === null) throw new PythonError('AssertionError', '')
  if (request.steps === 0) throw new PythonError('ZeroDivisionError', 'integer division or modulo by zero')
  if (request.steps < 0) throw new PythonError('RuntimeError', 'number of steps must be non-negative')
  if (request.batch_size <= 0 || request.n_iter <= 0) throw new PythonError('IndexError', 'list index out of range')
  if (floor8(request.width) <= 0 || floor8(request.height) <= 0) {
    throw new PythonError('RuntimeError',
      `Trying to create tensor with negative dimension or no elements: [4, ${floor8(request.height) / 8}, ${floor8(request.width) / 8}]`)
  }
  if (mode === 'img2img' && (request.denoising_strength ?? 0) < 0) {
    throw new PythonError('IndexError', 'index 0 is out of bounds for dimension 0 with size 0')
  }
  const numbers = [request.steps, request.cfg_scale, request.width, request.height, request.batch_size, request.n_iter]
  if (numbers.includes(null as never)) {
    throw new PythonError('TypeError', "unsupported operand type(s) for //: 'NoneType' and 'int'")
  }
}

function countSteps ({ options }: ServerProcess, request: GenerationRequest, mode: Mode): number {
  if (mode === 'txt2img') return request.steps
  const strength = Math.min(request.denoising_strength ?? 0.75, 0.999)
  if (options.get('img2img_fix_steps') === true) return request.steps
  return Math.trunc(strength * request.steps) + 1
}

function matchBatch (imageCount: number, batchSize: number): number {
  if (imageCount === 1) return batchSize
  if (imageCount === 0) {
    throw new PythonError('RuntimeError', 'Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [0]')
  }
  if (imageCount > batchSize) {
    throw new PythonError('RuntimeError', `bad number of images passed: ${imageCount}; expecting ${batchSize} or less`)
  }
  return imageCount
}

const maskFills = ['fill', 'original', 'latent noise', 'latent nothing']

function describeImg2img (request: GenerationRequest, extra: Record<string, unknown>): void {
  extra['Denoising strength'] = request.denoising_strength
  if (!request.mask) return
  extra['Mask blur'] = request.mask_blur ?? request.mask_blur_x
  if (request.inpainting_mask_invert) extra['Mask mode'] = 'Inpaint not masked'
  if (request.inpaint_full_res) {
    extra['Inpaint area'] = 'Only masked'
    extra['Masked area padding'] = request.inpaint_full_res_padding
  }
  if (request.inpainting_fill !== 1) extra['Masked content'] = maskFills[request.inpainting_fill ?? 0]
}

/** The nearest multiple of 8 that is not greater: what a latent of eighths can hold. */
export function floor8 (length: number): number {
  return Math.floor(length / 8) * 8
}
