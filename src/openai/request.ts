import type { OpenAiEdit, OpenAiGeneration } from '../../schemas/openai.ts'
import { ServiceError } from '../lib/errors.ts'
import type { OutputForm } from '../media/encode-form.ts'

/** The fields of all kinds of requests beside their images. */
export type ImagesRequest = Partial<OpenAiGeneration & Pick<OpenAiEdit, 'input_fidelity'>>

export interface Size {
  readonly width: number
  readonly height: number
}

/** The words in which OpenAI answers. */
type Effort = 'low' | 'medium' | 'high'

/** How an answer has its images. */
export interface AnswerForm {
  readonly url: boolean
  readonly base64: boolean
}

/** A request for images, read. */
export interface ImagesCall {
  /** Null for the one that the server has loaded. */
  readonly checkpoint: string | null
  readonly count: number
  /** Null for `auto`. */
  readonly size: Size | null
  readonly quality: Effort
  readonly output: OutputForm | null
  readonly form: AnswerForm
  readonly user: string | null
  /** Number of previews before the images; null without a stream. */
  readonly previews: number | null
}

/** Clients that know only OpenAI's models send their names whatever server they talk to. */
const openAiModels = /^(?:dall-e-[23]|gpt-image-\d[\w.-]*|chatgpt-image-latest)$/
const efforts = { standard: 'medium', auto: 'medium', hd: 'high', low: 'low', medium: 'medium', high: 'high' } as const
/** Sampling steps; without, as many as the service generates with by default. */
const stepsOf: Readonly<Record<Effort, number | undefined>> = { low: 10, medium: undefined, high: 40 }
/** Sides are multiples of this. */
const grid = 8
const smallestSide = 64

/** @throws ServiceError `invalid_field_value`, in OpenAI's names of fields */
export function readImagesCall (request: ImagesRequest): ImagesCall {
  const { model, n, size, quality, user, stream, partial_images: partial } = request
  if (request.background === 'transparent') {
    throw wrong('background', 'Checkpoints generate opaque images; background can be opaque or auto.')
  }
  if (stream !== true && (partial ?? 0) > 0) throw wrong('partial_images', 'partial_images needs stream: true.')
  const name = model?.trim() ?? ''
  return {
    checkpoint: name === '' || openAiModels.test(name) ? null : name,
    count: n ?? 1,
    size: readSize(size ?? 'auto'),
    quality: efforts[quality ?? 'auto'],
    output: outputOf(request),
    form: formOf(request.response_format ?? null, name),
    user: user == null || user.trim() === '' ? null : user,
    previews: stream === true ? partial ?? 0 : null
  }
}

function readSize (text: string): Size | null {
  if (text.trim().toLowerCase() === 'auto') return null
  const [, wide, high] = /^\s*(\d{1,5})\s*[x×]\s*(\d{1,5})\s*$/i.exec(text) ?? []
  const [width, height] = [Number(wide), Number(high)]
  const isPossible = [width, height].every(side => side >= smallestSide && side % grid === 0)
  if (isPossible) return { width, height }
  throw wrong('size', `size must be auto, or width x height such as 1024x1024, in multiples of ${grid} from ${smallestSide} on; ` +
    `it is ${JSON.stringify(text)}.`)
}

function outputOf ({ output_format: format, output_compression: quality }: ImagesRequest): OutputForm | null {
  // OpenAI's default, which says nothing about a lossless image
  const isUsual = quality == null || quality === 100
  if (!isUsual && (format == null || format === 'png')) {
    throw wrong('output_compression', 'output_compression below 100 needs output_format jpeg or webp.')
  }
  if (format == null) return null
  return { format, ...(quality == null || format === 'png' ? {} : { quality: Math.max(1, quality) }) }
}

/**
 * If the request does not say it, names of OpenAI's models get what these answer. Others get both: clients read one.
 */
function formOf (wanted: 'url' | 'b64_json' | null, model: string): AnswerForm {
  if (wanted !== null) return { url: wanted === 'url', base64: wanted === 'b64_json' }
  if (!openAiModels.test(model)) return { url: true, base64: true }
  const isOfDallE = model.startsWith('dall-e')
  return { url: isOfDallE, base64: !isOfDallE }
}

/** The parameters of a generation without images. */
export function parametersOf (
  prompt: string, { checkpoint, count, quality }: ImagesCall, size: Size
): Record<string, unknown> {
  const steps = stepsOf[quality]
  const together = imagesTogether(count, size)
  return {
    prompt,
    ...size,
    batch_size: together,
    n_iter: count / together,
    ...(steps === undefined ? {} : { steps }),
    ...(checkpoint === null ? {} : { checkpoint_name: checkpoint })
  }
}

/** Pixels that are generated at the same time: what every server can hold. */
const pixelsTogether = 1024 * 1024

/** Images of one batch: as many as divide the number evenly and fit into a server's memory. */
function imagesTogether (count: number, { width, height }: Size): number {
  const most = Math.max(1, Math.floor(pixelsTogether / (width * height)))
  for (let together = Math.min(count, most); together > 1; together--) if (count % together === 0) return together
  return 1
}

/** How much of an image changes, in A1111's measure. */
const denoising = { low: 0.75, high: 0.45, masked: 0.9, variation: 0.6 } as const

/** An image from which a generation begins, and its part that is generated again. */
export interface StartImage {
  /** As image parameters take it. */
  readonly image: unknown
  /** White where the image changes; null for everywhere. */
  readonly mask: unknown
  /** Whether the image has nothing under the mask. */
  readonly isErased: boolean
}

/** The parameters that make a generation start from an image. */
export function startParameters (
  { image, mask, isErased }: StartImage, request: ImagesRequest
): Record<string, unknown> {
  const start = { init_images: [image], resize_mode: 1 }
  if (request.prompt === undefined) return { ...start, denoising_strength: denoising.variation }
  const { input_fidelity: fidelity } = request
  const strength = mask === null || fidelity === 'high' ? denoising[fidelity ?? 'low'] : denoising.masked
  if (mask === null) return { ...start, denoising_strength: strength }
  return {
    ...start,
    denoising_strength: strength,
    mask,
    // 0 fills the part with the colours around it, 1 begins with what is there
    inpainting_fill: isErased ? 0 : 1,
    // the whole picture is the context of the part
    inpaint_full_res: false,
    mask_blur: 4
  }
}

/** A size that a server can generate, with the image's proportions and at most so many pixels. */
export function sizeLike ({ width, height }: Size, most: number): Size {
  const factor = Math.min(1, Math.sqrt(most / (width * height)))
  const side = (pixels: number) => Math.max(smallestSide, Math.round(pixels * factor / grid) * grid)
  return { width: side(width), height: side(height) }
}

export function wrong (param: string, sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field: param })
}
