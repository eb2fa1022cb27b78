import sharp from 'sharp'
import type { Config } from '../config/settings.ts'
import { ServiceError } from '../errors.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import { bufferSource, type ByteSource } from './byte-source.ts'
import {
  imageFormatOf, imageFormats, isWholeImage, readImageHeader, type ImageExtension, type ImageHeader
} from './image-header.ts'

/** What one input image may be, and how many one job may bring. */
export interface ImageLimits {
  readonly bytes: number
  readonly pixels: number
  readonly count: number
}

export interface CheckedImage extends ImageHeader {
  readonly bytes: Buffer
  readonly extension: ImageExtension
}

export function imageLimits (
  config: Pick<Config, 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS' | 'IMAGES_PER_JOB'>
): ImageLimits {
  return {
    bytes: config.IMAGE_MAX_MIB * 1_048_576,
    pixels: Math.floor(config.IMAGE_MAX_MEGAPIXELS * 1_000_000),
    count: config.IMAGES_PER_JOB
  }
}

/** Room for line breaks, as MIME writes them, when a size is judged by the length of its text. */
const spaceAllowance = 1.1
const dataUrlHead = /^data:(?:[\w.+-]+\/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]*)*;base64,/i
const longestDataUrlHead = 256

/**
 * The bytes of an input image that came as base64 or data URL, once they are known to be a picture that a server may
 * be given.
 * @param field dotted name of the input, for the error
 * @throws ServiceError `invalid_image`, or `payload_too_large` for more bytes than allowed
 */
export async function checkImage (text: string, field: string, limits: ImageLimits): Promise<CheckedImage> {
  const encoded = withoutDataUrlHead(text.trim(), field)
  if (encoded === '') throw refusal(field, 'is empty; send a PNG, JPEG or WebP as base64')
  if (encoded.length > limits.bytes / 3 * 4 * spaceAllowance + 4) throw imageTooLarge(field, limits)
  const bytes = await decoded(encoded, field)
  if (bytes.length > limits.bytes) throw imageTooLarge(field, limits)
  const header = await checkImageHeader(bufferSource(bytes), field, limits)
  await checkDecodable(bytes, field, limits)
  return { ...header, bytes, extension: imageFormats[header.format].extension }
}

/**
 * Format, size and end of a picture, without decoding a pixel.
 * @throws ServiceError `invalid_image`
 */
export async function checkImageHeader (source: ByteSource, field: string, limits: ImageLimits): Promise<ImageHeader> {
  const header = await readImageHeader(source)
  if (header === null) {
    throw refusal(field, `is ${await lookOf(source)}; send a PNG, JPEG or WebP`)
  }
  const { format, width, height } = header
  if (width === 0 || height === 0) throw refusal(field, `is a ${format.toUpperCase()} of ${width}x${height} pixels`)
  if (width * height > limits.pixels) {
    const most = limits.pixels / 1_000_000
    throw refusal(field, `has ${width}x${height} pixels; at most ${most} million are allowed (IMAGE_MAX_MEGAPIXELS)`)
  }
  if (!await isWholeImage(source, format)) throw refusal(field, `is a ${format.toUpperCase()} that was cut off before its end`)
  return header
}

/**
 * Opens the picture with the decoder as far as its header and no further.
 * @param input bytes, or the path of a file
 * @throws ServiceError `invalid_image`
 */
export async function checkDecodable (input: Buffer | string, field: string, limits: ImageLimits): Promise<void> {
  try {
    await sharp(input, { limitInputPixels: limits.pixels, failOn: 'error' }).metadata()
  } catch (error) {
    throw new ServiceError('invalid_image', `${field} cannot be decoded; send a sound PNG, JPEG or WebP.`, { field }, {
      cause: error
    })
  }
}

export function imageTooLarge (field: string, limits: ImageLimits): ServiceError {
  const most = limits.bytes / 1_048_576
  return new ServiceError('payload_too_large', `${field} is too large; an image may have at most ${most} MiB (IMAGE_MAX_MIB).`, { field })
}

function refusal (field: string, sentence: string): ServiceError {
  return new ServiceError('invalid_image', `${field} ${sentence}.`, { field })
}

/**
 * Base64 without the head of a data URL, where it has one.
 * @throws ServiceError `invalid_image`
 */
export function withoutDataUrlHead (text: string, field: string): string {
  const start = text.slice(0, longestDataUrlHead)
  if (/^https?:/i.test(start)) {
    throw refusal(field, 'is an address; addresses are not fetched, send the image itself as base64')
  }
  if (!/^data:/i.test(start)) return text
  const head = dataUrlHead.exec(start)
  if (head === null) throw refusal(field, 'is a data URL without base64; it must begin like data:image/png;base64,')
  return text.slice(head[0].length)
}

async function decoded (text: string, field: string): Promise<Buffer> {
  try {
    return await decodeBase64(text)
  } catch (error) {
    throw notBase64(error, field)
  }
}

/** What went wrong in a decoder, said of the field. */
export function notBase64 (error: unknown, field: string): unknown {
  return error instanceof Base64Fault ? refusal(field, `is not base64: ${error.message}`) : error
}

/** What was sent instead, in words. */
async function lookOf (source: ByteSource): Promise<string> {
  const bytes = await source.read(0, 16)
  if (imageFormatOf(bytes) !== null) return 'broken before its size can be read'
  const head = bytes.toString('latin1')
  if (head.startsWith('GIF8')) return 'a GIF'
  if (head.startsWith('BM')) return 'a BMP'
  if (head.slice(4, 8) === 'ftyp') return 'an AVIF, HEIC or video'
  if (/^\s*</.test(head)) return 'text or SVG'
  return 'no image'
}
