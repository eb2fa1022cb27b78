import sharp from 'sharp'
import type { Config } from '../config/settings.ts'
import { ServiceError } from '../errors.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import { bufferSource, type ByteSource } from './byte-source.ts'
import { decodePicture } from './decode-picture.ts'
import { imageFormats, isWholeImage, readImageHeader, type ImageExtension, type ImageFormat } from './image-header.ts'
import { isReadable, kindOf, readableKinds, type PictureKind, type ReadableKind } from './picture-kinds.ts'

/** What one input image may be, and how many one job may bring. */
export interface ImageLimits {
  readonly bytes: number
  readonly pixels: number
  readonly count: number
}

/** What was sent, as far as its first bytes say. */
export interface InputHeader {
  readonly format: ReadableKind
  readonly width: number
  readonly height: number
}

/** What servers get of it. */
export interface CheckedImage {
  readonly format: ImageFormat
  readonly width: number
  readonly height: number
  readonly bytes: Buffer
  readonly extension: ImageExtension
}

/** Bytes of a pixel with transparency, and what a PNG that cannot be compressed adds to them. */
const bytesOfPixel = 4
const pngSurplus = 1.01

export function imageLimits (
  config: Pick<Config, 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS' | 'IMAGES_PER_JOB'>
): ImageLimits {
  return {
    bytes: imageMaxMib(config) * 1_048_576,
    pixels: Math.floor(config.IMAGE_MAX_MEGAPIXELS * 1_000_000),
    count: config.IMAGES_PER_JOB
  }
}

/** IMAGE_MAX_MIB, or what a PNG of as many pixels as are allowed can take at most. */
function imageMaxMib (config: Pick<Config, 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS'>): number {
  const { IMAGE_MAX_MIB: set, IMAGE_MAX_MEGAPIXELS: most } = config
  return set === 0 ? Math.ceil(most * 1_000_000 * bytesOfPixel * pngSurplus / 1_048_576) + 1 : set
}

/** BODY_LIMIT_MIB, or what one image as large as is allowed takes as base64, and room for more. */
export function bodyLimitMib (
  config: Pick<Config, 'BODY_LIMIT_MIB' | 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS'>
): number {
  return config.BODY_LIMIT_MIB === 0
    ? Math.max(64, Math.ceil(imageMaxMib(config) * 4 / 3 * spaceAllowance) + 16)
    : config.BODY_LIMIT_MIB
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
  if (encoded === '') throw refusal(field, `is empty; send ${aReadable} as base64`)
  if (encoded.length > limits.bytes / 3 * 4 * spaceAllowance + 4) throw imageTooLarge(field, limits)
  const bytes = await decoded(encoded, field)
  if (bytes.length > limits.bytes) throw imageTooLarge(field, limits)
  const { format, width, height } = await checkImageHeader(bufferSource(bytes), field, limits)
  const converted = await checkDecodable(bytes, { field, limits, kind: format })
  const stored = storedFormat(format)
  return { format: stored, width, height, bytes: converted ?? bytes, extension: imageFormats[stored].extension }
}

/** What a picture is kept and sent as. */
export function storedFormat (kind: ReadableKind): ImageFormat {
  return kind === 'jpeg' || kind === 'webp' ? kind : 'png'
}

/**
 * Format, size and end of a picture, without decoding a pixel.
 * @throws ServiceError `invalid_image`
 */
export async function checkImageHeader (source: ByteSource, field: string, limits: ImageLimits): Promise<InputHeader> {
  const head = await source.read(0, 64)
  const kind = kindOf(head)
  if (!isReadable(kind)) throw refusal(field, `is ${wordFor(kind)}; send ${aReadable}`)
  const size = await sizeOf(source, kind)
  if (size === null) throw refusal(field, `is broken before its size can be read; send ${aReadable}`)
  const { width, height } = size
  const said = `is ${wordFor(kind)} of ${width}x${height} pixels`
  if (width === 0 || height === 0) throw refusal(field, said)
  if (width * height > limits.pixels) {
    const most = limits.pixels / 1_000_000
    throw refusal(field, `${said}; at most ${most} million are allowed (IMAGE_MAX_MEGAPIXELS)`)
  }
  if ((kind === 'png' || kind === 'jpeg' || kind === 'webp') && !await isWholeImage(source, kind)) {
    throw refusal(field, `is ${wordFor(kind)} that was cut off before its end`)
  }
  return { format: kind, width, height }
}

/** Bytes of a TIFF or AVIF that are looked at for its size. */
const longestHeader = 64 * 1_048_576

async function sizeOf (source: ByteSource, kind: ReadableKind): Promise<{ width: number, height: number } | null> {
  if (kind === 'png' || kind === 'jpeg' || kind === 'webp') return await readImageHeader(source)
  const head = await source.read(0, 64)
  if (head.length < 26 && (kind === 'bmp' || head.length < 10)) return null
  if (kind === 'gif') return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) }
  if (kind === 'bmp') {
    return head.readUInt32LE(14) === 12
      ? { width: head.readUInt16LE(18), height: head.readUInt16LE(20) }
      // rows may stand from top to bottom, which a negative height says
      : { width: Math.abs(head.readInt32LE(18)), height: Math.abs(head.readInt32LE(22)) }
  }
  const bytes = await source.read(0, longestHeader)
  const found = await sharp(bytes, { limitInputPixels: false }).metadata().catch(() => null)
  return found === null ? null : { width: found.width, height: found.height }
}

export interface DecodableOptions {
  readonly field: string
  readonly limits: ImageLimits
  readonly kind: ReadableKind
}

/**
 * Decodes the picture to its end, away from the event loop.
 * @param input bytes, or the path of a file
 * @returns the PNG that goes to servers in its place; null where it goes as it is
 * @throws ServiceError `invalid_image`
 */
export async function checkDecodable (
  input: Buffer | string, { field, limits, kind }: DecodableOptions
): Promise<Buffer | null> {
  try {
    return await decodePicture({ input, kind, mostPixels: limits.pixels })
  } catch (error) {
    const isCut = error instanceof Error && /premature end|unexpected end/i.test(error.message)
    const sentence = isCut
      ? `${field} is ${wordFor(kind)} that was cut off before its end.`
      : `${field} cannot be decoded; send a sound ${readableKinds}.`
    throw new ServiceError('invalid_image', sentence, { field }, { cause: error })
  }
}

export function imageTooLarge (field: string, limits: ImageLimits): ServiceError {
  const most = limits.bytes / 1_048_576
  return new ServiceError('payload_too_large', `${field} is too large; an image can have at most ${most} MiB (IMAGE_MAX_MIB).`, { field })
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

const aReadable = `a ${readableKinds}`

/** What was sent, with its article. */
function wordFor (kind: PictureKind | null): string {
  const words: Partial<Record<PictureKind, string>> = {
    webp: 'a WebP', avif: 'an AVIF', svg: 'text or SVG', jxl: 'a JPEG XL', ico: 'an icon', video: 'a video'
  }
  return kind === null ? 'no image' : words[kind] ?? `a ${kind.toUpperCase()}`
}
