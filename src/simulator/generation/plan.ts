import { seedAfter, type Seed } from '../../a1111/seeds.ts'
import { requireLoosely } from '../checkpoints.ts'
import { PythonError } from '../failures.ts'
import { effectiveSchedule, pickSampler, type Sampler } from '../lists/samplers.ts'
import type { ServerProcess } from '../server-process.ts'
import { planHires, type HiresPlan } from './hires.ts'
import type { GenerationRequest, Mode } from './request.ts'
import { runScript } from './script-runs.ts'
import { selectedArguments } from './scripts.ts'
import { resolveSeeds } from './seeds.ts'
import { applyStyles } from './styles.ts'

/** A generation with everything resolved: what will really be made. */
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
  /** What comes out of the first pass: rounded down to multiples of 8. */
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
    isGridAlone: script?.hasPictures === false
  }
}

/** What A1111 trips over, in its own words; none of it is checked beforehand there. */
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
