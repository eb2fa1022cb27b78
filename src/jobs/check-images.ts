import type { A1111Parameters, Warning } from '../../schemas/generation-parameters.ts'
import type { Log } from '../lib/logging.ts'
import { isMediaReference, isMoving, type StoredImage } from '../lib/media-types.ts'
import sharp from '../lib/sharp.ts'
import { type MediaStore, wholeOutput } from '../media/store.ts'
import type { JobSubmission } from './job.ts'

/**
 * Detects work on finished images that the server did not do. A server that cannot load an upscaler or a face model
 * reports that only in its console, and answers 200 with the image merely resized or unchanged.
 */
export type ImageCheck = (
  submission: Pick<JobSubmission, 'mode' | 'parameters'>, images: readonly StoredImage[]
) => Promise<Warning[]>

interface Pixels { readonly data: Buffer, readonly width: number, readonly height: number }
type Fields = Readonly<Record<string, unknown>>
type Size = Pick<Pixels, 'width' | 'height'>

/** Servers round sizes down, most to multiples of eight. */
const sizeTolerance = 8
/** Upscalers without a model. */
const plainUpscaler = /^(none|lanczos|nearest|bicubic|bilinear|area|box|hamming)\b/i
const longestPatch = 512
const longestLossy = 1024
const maxPixels = 268_000_000

export function createImageCheck (media: Pick<MediaStore, 'readInput' | 'openOutput'>, log: Log): ImageCheck {
  async function check (parameters: A1111Parameters, images: readonly StoredImage[]): Promise<Warning[]> {
    const inputs = (parameters.init_images as readonly unknown[] | undefined ?? []).filter(isMediaReference)
    const results = images.filter(({ role, mime }) => role === 'image' && !isMoving(mime))
    if (inputs.length !== results.length) return []
    const warnings: Warning[] = []
    for (const [index, reference] of inputs.entries()) {
      const result = results[index]
      if (result === undefined) continue
      const input = await media.readInput(reference)
      const warning = await judge(parameters, input, await wholeOutput(media, result.name))
      if (warning !== null) warnings.push(warning)
    }
    const codes = [...new Set(warnings.map(({ code }) => code))]
    return codes.flatMap(code => warnings.find(warning => warning.code === code) ?? [])
  }

  return async ({ mode, parameters }, images) => {
    if (mode !== 'extras') return []
    try {
      return await check(parameters as A1111Parameters, images)
    } catch (error) {
      // The images exist and stay; only the work on them is unknown.
      log.debug({ err: error }, 'finished pictures could not be compared with what they were made of')
      return []
    }
  }
}

async function judge (parameters: Fields, given: Buffer, result: Buffer): Promise<Warning | null> {
  const [input, made] = [await decode(given), await decode(result)]
  const upscaler = String(parameters.upscaler_1 ?? 'None')
  const scaled = upscaler === 'None' ? input : scaledSize(parameters, input)
  const wanted = isCut(parameters, upscaler) ? sizeAsked(parameters) : scaled
  if (!isAbout(made, wanted)) {
    return {
      code: 'different_size',
      message: `The server made ${made.width}x${made.height} of a picture of ${input.width}x${input.height}, not ` +
        `${Math.round(wanted.width)}x${Math.round(wanted.height)}; its upscaler seems to have failed.`,
      field: 'upscaler_1'
    }
  }
  if (upscaler !== 'None') {
    const isModels = isByModel(upscaler) && (isUnused(parameters) || isByModel(String(parameters.upscaler_2)))
    if (!isModels || !await isMerelyResized(input, made, { scaled, isExact: isLossless(given, result) })) return null
    return {
      code: 'not_upscaled',
      message: `The picture seems to be only resized: the server was possibly unable to load the upscaler ${upscaler}. ` +
        'Its console says why.',
      field: 'upscaler_1'
    }
  }
  const face = ['gfpgan_visibility', 'codeformer_visibility'].find(field => Number(parameters[field] ?? 0) > 0)
  if (face === undefined || !await isUnchanged(input, made, { given, result })) return null
  return {
    code: 'faces_not_restored',
    message: 'The picture came back unchanged: the server found no face in it, or could not load the model that restores ' +
      'faces. Its console says which.',
    field: face
  }
}

/** Upright, as servers see the image, without transparency. */
async function decode (bytes: Buffer): Promise<Pixels> {
  const { data, info } = await sharp(bytes, { limitInputPixels: maxPixels })
    .autoOrient().removeAlpha().toColourspace('srgb').raw({ depth: 'uchar' }).toBuffer({ resolveWithObject: true })
  return { data, width: info.width, height: info.height }
}

function isByModel (upscaler: string): boolean {
  return !plainUpscaler.test(upscaler)
}

/** Whether the second upscaler does not contribute to the image. */
function isUnused ({ upscaler_2: second = 'None', extras_upscaler_2_visibility: share = 0 }: Fields): boolean {
  return second === 'None' || share === 0
}

/** Whether the image is enlarged to a size and cropped to it, rather than enlarged by a factor. */
function isCut ({ resize_mode: mode, upscaling_crop: crops = true }: Fields, upscaler: string): boolean {
  return upscaler !== 'None' && mode === 1 && crops === true
}

function sizeAsked ({ upscaling_resize_w: width = 512, upscaling_resize_h: height = 512 }: Fields): Size {
  return { width: Number(width), height: Number(height) }
}

function isAbout (one: Size, other: Size): boolean {
  return Math.abs(one.width - other.width) <= sizeTolerance && Math.abs(one.height - other.height) <= sizeTolerance
}

/** The size before cropping. */
function scaledSize (parameters: Fields, { width, height }: Size): Size {
  const asked = sizeAsked(parameters)
  const factor = parameters.resize_mode === 1
    ? Math.max(asked.width / width, asked.height / height)
    : Number(parameters.upscaling_resize ?? 2)
  return { width: width * factor, height: height * factor }
}

/**
 * Whether the middle of the image equals the plainly resized input. Unknown if the input has too little detail for
 * upscalers to differ.
 */
async function isMerelyResized (
  input: Pixels, made: Pixels, { scaled, isExact }: { readonly scaled: Size, readonly isExact: boolean }
): Promise<boolean> {
  const whole = { width: Math.floor(scaled.width / 8) * 8, height: Math.floor(scaled.height / 8) * 8 }
  // an image that was not cropped is compared in its own size, however its server rounds
  const full = isAbout(made, scaled) ? made : whole
  if (full.width === input.width && full.height === input.height && made === full) {
    return isExact && input.data.equals(made.data)
  }
  const size = {
    width: Math.min(longestPatch, made.width, full.width), height: Math.min(longestPatch, made.height, full.height)
  }
  const resized = async (kernel: 'lanczos3' | 'nearest') => await middle(input, size, { full, kernel })
  const [seen, plain, coarse] = await Promise.all([middle(made, size), resized('lanczos3'), resized('nearest')])
  const detail = meanDifference(plain, coarse)
  if (detail < minDetail) return false
  return meanDifference(seen, plain) < detail * nearlyPlain || meanDifference(seen, coarse) < detail * nearlyCoarse
}

/** Levels of 256 by which the smoothest and the coarsest way of resizing must differ. */
const minDetail = 1
/** Shares of that difference. Smooth ways of resizing differ a little from each other, models far more. */
const nearlyPlain = 0.3
const nearlyCoarse = 0.1

async function middle (
  { data, width, height }: Pixels, size: Size, resized?: { readonly full: Size, readonly kernel: 'lanczos3' | 'nearest' }
): Promise<Buffer> {
  const { full } = resized ?? { full: { width, height } }
  const image = sharp(data, { raw: { width, height, channels: 3 } })
  const enlarged = resized === undefined
    ? image
    : image.resize({ width: full.width, height: full.height, fit: 'fill', kernel: resized.kernel })
  const left = Math.floor(full.width / 2) - Math.floor(size.width / 2)
  const top = Math.floor(full.height / 2) - Math.floor(size.height / 2)
  return await enlarged.extract({ left, top, ...size }).raw().toBuffer()
}

function meanDifference (one: Buffer, other: Buffer): number {
  let sum = 0
  for (let index = 0; index < one.length; index++) sum += Math.abs((one[index] ?? 0) - (other[index] ?? 0))
  return sum / Math.max(1, one.length)
}

/** Whether the pixels are the same, apart from the losses of lossy formats. */
async function isUnchanged (
  input: Pixels, made: Pixels, { given, result }: { readonly given: Buffer, readonly result: Buffer }
): Promise<boolean> {
  if (input.width !== made.width || input.height !== made.height) return false
  if (isLossless(given, result)) return input.data.equals(made.data)
  const tolerance = isPng(result) ? 8 : 24
  const [one, other] = await Promise.all([input, made].map(shrunk))
  if (one === undefined || other === undefined) return false
  let differing = 0
  for (let index = 0; index < one.length; index++) {
    if (Math.abs((one[index] ?? 0) - (other[index] ?? 0)) > tolerance) differing++
  }
  return differing <= one.length * minChange
}

/** The least share of the samples that a restored face changes. */
const minChange = 0.0002

/** Brightness alone: lossy formats keep far less of the colours. */
async function shrunk ({ data, width, height }: Pixels): Promise<Buffer> {
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: longestLossy, height: longestLossy, fit: 'inside', withoutEnlargement: true })
    .greyscale().raw().toBuffer()
}

function isLossless (given: Buffer, result: Buffer): boolean {
  return isPng(given) && isPng(result)
}

function isPng (bytes: Buffer): boolean {
  return bytes.toString('latin1', 1, 4) === 'PNG'
}
