import { hiresFields } from '../../schemas/a1111-fields.ts'
import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import { invalidField, without } from './field-values.ts'
import { randomSeed, largestSeed, leavesRoom, seedAfter, type Seed } from '../lib/seeds.ts'
import type { GenerationMode } from './types.ts'

/** The output of one generation. */
export interface OutputSize {
  readonly images: number
  /** Width of each image, in pixels, after hires fix. */
  readonly width: number
  readonly height: number
}

/** The initial values of A1111's interface; its API has 50 steps, which users do not expect. */
export const defaults = {
  prompt: '', negative_prompt: '', steps: 20, width: 512, height: 512, cfg_scale: 7, batch_size: 1, n_iter: 1
} as const

/** The default of A1111's interface; its API fails without a value. */
const hiresDenoising = 0.7

/** The number of images and their size, as A1111 computes them. */
export function outputSize (parameters: Readonly<Record<string, unknown>>): OutputSize {
  const given = parameters as A1111Parameters
  const { width = defaults.width, height = defaults.height } = given
  const { batch_size: batch = defaults.batch_size, n_iter: batches = defaults.n_iter } = given
  const size = hiresSize(given, width, height) ?? { width: flooredTo8(width), height: flooredTo8(height) }
  return { images: batch * batches, width: size.width, height: size.height }
}

/** The size of the finished images: A1111 rounds the second pass down to multiples of eight as well. */
export function finishedSize (parameters: Readonly<Record<string, unknown>>): { width: number, height: number } {
  const { width, height } = outputSize(parameters)
  return { width: flooredTo8(width), height: flooredTo8(height) }
}

/** From the requested size, which only the first pass rounds down; null without a second pass. */
function hiresSize (
  parameters: A1111Parameters, width: number, height: number
): { width: number, height: number } | null {
  const { enable_hr: enabled, hr_scale: scale = 2, hr_resize_x: x = 0, hr_resize_y: y = 0 } = parameters
  if (enabled !== true) return null
  // the old way names the first pass beside the final size
  const isOldWay = [parameters.firstphase_width, parameters.firstphase_height].some(side => (side ?? 0) > 0)
  if (isOldWay) return null
  if (x === 0 && y === 0) return { width: Math.floor(width * scale), height: Math.floor(height * scale) }
  return { width: x === 0 ? Math.floor(width * y / height) : x, height: y === 0 ? Math.floor(height * x / width) : y }
}

function flooredTo8 (pixels: number): number {
  return Math.floor(pixels / 8) * 8
}

/**
 * Rounds the size down to the one that A1111 really generates, with a warning: its answer still names the requested
 * size. If the server judges, the size stays.
 */
export function withRealSize (
  parameters: A1111Parameters, judge: 'here' | 'server' = 'here', warn: (warning: Warning) => void
): A1111Parameters {
  const { width = defaults.width, height = defaults.height } = parameters
  const real = { width: flooredTo8(width), height: flooredTo8(height) }
  if (real.width !== width || real.height !== height) {
    warn({ code: 'size_rounded', message: `${width}x${height} is generated as ${real.width}x${real.height}: sides are rounded down to a multiple of 8.`, field: real.width === width ? 'height' : 'width' })
  }
  const isReal = real.width === parameters.width && real.height === parameters.height
  return judge === 'server' || isReal ? parameters : { ...parameters, ...real }
}

/** Fills hires fix only if it is on; without a denoising strength A1111 fails with a 500. */
export function withHires (
  parameters: A1111Parameters, mode: GenerationMode, warn: (warning: Warning) => void
): A1111Parameters {
  if (mode === 'txt2img' && parameters.enable_hr === true) {
    if (parameters.denoising_strength !== undefined) return parameters
    warn({ code: 'denoising_strength_filled_in', message: `Hires fix needs a denoising strength; ${hiresDenoising} is taken.`, field: 'denoising_strength' })
    return { ...parameters, denoising_strength: hiresDenoising }
  }
  return without<unknown>(parameters, name => Object.hasOwn(hiresFields, name))
}

/**
 * Seeds as numbers, so that a second attempt generates the same image.
 * @param random a whole number from 0 to below its argument
 */
export function withSeeds (parameters: A1111Parameters, random: (below: number) => number): A1111Parameters {
  const draw = (value: Seed) => value === -1 ? randomSeed(random) : value
  if (parameters.subseed === undefined && parameters.subseed_strength === undefined) {
    return { ...parameters, seed: draw(parameters.seed ?? -1) }
  }
  const { seed = -1, subseed = -1, subseed_strength: strength = 0, ...others } = parameters
  // without a strength it changes nothing, but the server's answer names it
  const variation = strength === 0 && subseed === -1 ? {} : { subseed: draw(subseed), subseed_strength: strength }
  return { ...others, seed: draw(seed), ...variation }
}

/** Init images in a number that A1111 accepts: one for the whole batch, or one for each of its images. */
export function withMatchingBatch (
  parameters: A1111Parameters, warn: (warning: Warning) => void
): A1111Parameters {
  const { init_images: { length } = [], batch_size: batch = 1 } = parameters
  if (length <= 1 || length >= batch) return parameters
  warn({ code: 'batch_size_reduced', message: `batch_size ${batch} becomes ${length}, the number of init images.`, field: 'batch_size' })
  return { ...parameters, batch_size: length }
}

/** Limits of one job in total, whatever its server accepts. */
export interface OutputLimits {
  /** The setting PIXELS_PER_JOB_MEGAPIXELS, in pixels. */
  readonly pixels: number
  /** The setting OUTPUTS_PER_JOB. */
  readonly images: number
}

/**
 * Limits that protect servers and this machine; everything else is for the server to judge.
 * @throws ServiceError `invalid_field_value` naming the setting
 */
export function refuseHugeOutput (parameters: A1111Parameters, maximum: OutputLimits): void {
  const { images, width, height } = outputSize(parameters)
  if (images > maximum.images) {
    throw invalidField('n_iter', `batch_size times n_iter makes ${images} images; a job can make at most ${maximum.images} (the setting OUTPUTS_PER_JOB).`)
  }
  const most = `at most ${millions(maximum.pixels)} million (the setting PIXELS_PER_JOB_MEGAPIXELS)`
  const pixels = Math.abs(images * width * height)
  if (!(pixels <= maximum.pixels)) {
    throw invalidField('width', `${images} images of ${width}x${height} make ${millions(pixels)} million pixels; a job can have ${most}.`)
  }
  // as large as an image while its noise is generated
  const { seed_resize_from_w: wide = 0, seed_resize_from_h: high = 0 } = parameters
  if (wide > 0 && high > 0 && wide * high > maximum.pixels) {
    throw invalidField('seed_resize_from_w', `Noise of ${wide}x${high} has ${millions(wide * high)} million pixels; a job can have ${most}.`)
  }
}

/**
 * Refuses at once what every A1111 fails at: more init images than the batch size, and seeds beyond 64 bits, since each
 * image has the seed of the one before plus 1, or with a variation its subseed.
 * @throws ServiceError `invalid_field_value`
 */
export function refuseImpossible (parameters: A1111Parameters): void {
  const { init_images: { length } = [], batch_size: batch = 1 } = parameters
  if (length > batch) {
    throw invalidField('init_images', name => `${name} has ${length} images, but batch_size is ${batch}; send at most that many, or a larger batch_size.`)
  }
  const { images } = outputSize(parameters)
  const field = (parameters.subseed_strength ?? 0) > 0 ? 'subseed' : 'seed'
  if (leavesRoom(parameters[field] ?? 0, images)) return
  throw invalidField(field, name => `${name} must be at most ${seedAfter(largestSeed, 1 - images)}, so that ${images} images can have seeds that follow each other.`)
}

function millions (pixels: number): number {
  return Math.round(pixels / 10_000) / 100
}
