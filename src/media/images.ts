import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import type { Config } from '../config/settings.ts'
import { ServiceError } from '../lib/errors.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import sharp from '../lib/sharp.ts'
import { Base64Fault, decodeBase64 } from './base64.ts'
import type { Bitmap, BitmapRequest } from './bitmap-thread.ts'
import {
  bufferSource, type ByteSource, type ImageExtension, type ImageFormat, imageFormatOf, imageFormats, isWholeImage,
  readImageHeader
} from './image-header.ts'

/** Formats that are read: those that servers get unchanged, and those that are converted first. */
type ReadableKind = ImageFormat | 'avif' | 'gif' | 'tiff' | 'bmp'
/** Formats that are recognised and rejected, because no server could read them. */
export type RefusedKind = 'heic' | 'svg' | 'psd' | 'jxl' | 'ico' | 'video' | 'pdf'
type ImageKind = ReadableKind | RefusedKind

export const readableKinds = 'PNG, JPEG, WebP, AVIF, GIF, TIFF or BMP'

/** Brands of ISO base media files (ISO 14496-12, §4.3); anything that is neither AVIF nor HEIC is a video. */
const avifBrands = /^(?:avif|avis)$/
const heicBrands = /^(?:heic|heix|heim|heis|hevc|hevx|hevm|hevs)$/
const stillBrands = /^(?:mif1|msf1|miaf)$/

type Signature = (head: Buffer, text: string) => boolean

/** First bytes, in hexadecimal. */
const begins = (...starts: string[]): Signature => head => starts.some(start => head.toString('hex').startsWith(start))
/** Sizes of the headers of bitmaps, from OS/2 to version 5. */
const bitmapHeaders = [12, 16, 40, 52, 56, 64, 108, 124]

const signatures: ReadonlyArray<readonly [ImageKind, Signature]> = [
  ['gif', (_head, text) => /^GIF8[79]a/.test(text)],
  ['tiff', begins('49492a00', '49492b00', '4d4d002a', '4d4d002b')],
  ['bmp', (head, text) => text.startsWith('BM') && head.length >= 18 && bitmapHeaders.includes(head.readUInt32LE(14))],
  ['psd', (_head, text) => text.startsWith('8BPS')],
  ['jxl', begins('ff0a', '0000000c4a584c20')],
  ['ico', begins('00000100', '00000200')],
  ['pdf', (_head, text) => text.startsWith('%PDF-')],
  ['video', (head, text) => begins('1a45dfa3')(head, text) || (text.startsWith('RIFF') && text.slice(8, 12) === 'AVI ')],
  ['svg', (_head, text) => /^(?:\xef\xbb\xbf)?\s*<(?:svg|\?xml|!DOCTYPE\s+svg|!--)/i.test(text)]
]

/** Format by the first bytes, of which 64 are enough; null for an unknown format. */
export function kindOf (head: Buffer): ImageKind | null {
  const format = imageFormatOf(head)
  if (format !== null) return format
  const text = head.toString('latin1', 0, 64)
  if (text.slice(4, 8) === 'ftyp') return kindOfBrands(text)
  return signatures.find(([, fits]) => fits(head, text))?.[0] ?? null
}

/** A file lists the brands that it fits: the first, a version, and more. */
function kindOfBrands (text: string): ImageKind {
  const brands = [text.slice(8, 12), ...(text.slice(16, 48).match(/[\s\S]{4}/g) ?? [])]
  if (brands.some(brand => avifBrands.test(brand))) return 'avif'
  const [first = ''] = brands
  return heicBrands.test(first) || stillBrands.test(first) ? 'heic' : 'video'
}

export function isReadable (kind: ImageKind | null): kind is ReadableKind {
  return kind !== null && ['png', 'jpeg', 'webp', 'avif', 'gif', 'tiff', 'bmp'].includes(kind)
}

/** Images decoded at a time: each can take hundreds of MiB, and a thread that file access also needs. */
const atATime = 2
/** Time limit for a bitmap, in milliseconds. */
const bitmapMs = 30_000

const decoding = createSemaphore(atATime)

export interface Decoding {
  /** Bytes, or the path of a file. */
  readonly input: Buffer | string
  readonly kind: ReadableKind
  readonly maxPixels: number
}

/**
 * Decodes an image to its last pixel, on other threads, and keeps no pixel. Formats that servers cannot read become a
 * PNG of their first frame, upright, with transparency; null for PNG, JPEG and WebP, which are sent unchanged.
 * @throws Error of the decoder for a broken or truncated image
 */
async function decodeImage ({ input, kind, maxPixels }: Decoding): Promise<Buffer | null> {
  return await decoding.run(async () => {
    if (kind === 'bmp') return await pngOfBitmap(typeof input === 'string' ? await readFile(input) : input)
    if (kind === 'png' || kind === 'jpeg' || kind === 'webp') {
      await decodeAll(input, { kind, maxPixels })
      return null
    }
    return await sharp(input, { limitInputPixels: maxPixels, failOn: 'error' }).autoOrient()
      .png({ compressionLevel: 3 }).toBuffer()
  })
}

async function decodeAll (
  input: Buffer | string, { kind, maxPixels }: Pick<Decoding, 'kind' | 'maxPixels'>
): Promise<void> {
  // one pixel of many, so that the decoder reads all of them and nothing is kept
  const decode = async (failOn: 'error' | 'warning') => {
    await sharp(input, { limitInputPixels: maxPixels, failOn, sequentialRead: true })
      .resize({ width: 8, height: 8, fit: 'fill', kernel: 'nearest', fastShrinkOnLoad: false }).raw().toBuffer()
  }
  if (kind !== 'jpeg') return await decode('error')
  try {
    await decode('warning')
  } catch (error) {
    // libjpeg only warns about missing data before an end mark; its other warnings, as of stray bytes, are harmless
    if (error instanceof Error && /premature end/i.test(error.message)) throw error
    await decode('error')
  }
}

/** The thread is `.ts` where sources run as they are, `.js` where they were built. */
const threadUrl = new URL(`./bitmap-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/** sharp reads no bitmaps. */
async function pngOfBitmap (bytes: Buffer): Promise<Buffer> {
  const thread = new Worker(threadUrl, { workerData: { bytes } satisfies BitmapRequest })
  const overdue = setTimeout(() => { thread.terminate().catch(() => {}) }, bitmapMs)
  try {
    const ended = once(thread, 'exit').then(() => { throw new Error('The bitmap took too long.') })
    const [{ width, height, pixels }] = await Promise.race([once(thread, 'message') as Promise<[Bitmap]>, ended])
    return await sharp(pixels, { raw: { width, height, channels: 4 } }).png({ compressionLevel: 3 }).toBuffer()
  } finally {
    clearTimeout(overdue)
    await thread.terminate()
  }
}

/** Limits of one input image, and of the images of one job. */
export interface ImageLimits {
  readonly bytes: number
  readonly pixels: number
  readonly count: number
}

/** The image as sent, by its first bytes. */
export interface InputHeader {
  readonly format: ReadableKind
  readonly width: number
  readonly height: number
}

/** The image for servers. */
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

/** IMAGE_MAX_MIB, or the largest PNG of the allowed pixels. */
function imageMaxMib (config: Pick<Config, 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS'>): number {
  const { IMAGE_MAX_MIB: set, IMAGE_MAX_MEGAPIXELS: most } = config
  return set === 0 ? Math.ceil(most * 1_000_000 * bytesOfPixel * pngSurplus / 1_048_576) + 1 : set
}

/** BODY_LIMIT_MIB, or the largest allowed image as base64, plus a margin. */
export function bodyLimitMib (
  config: Pick<Config, 'BODY_LIMIT_MIB' | 'IMAGE_MAX_MIB' | 'IMAGE_MAX_MEGAPIXELS'>
): number {
  return config.BODY_LIMIT_MIB === 0
    ? Math.max(64, Math.ceil(imageMaxMib(config) * 4 / 3 * spaceAllowance) + 16)
    : config.BODY_LIMIT_MIB
}

/** Margin for line breaks, as MIME writes them, when a size is judged by the length of its text. */
const spaceAllowance = 1.1
const dataUrlHead = /^data:(?:[\w.+-]+\/[\w.+-]+)?(?:;[\w.+-]+=[\w.+-]*)*;base64,/i
const longestDataUrlHead = 256

/**
 * The bytes of an input image from base64 or a data URL, after the check that servers can read it.
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

/** The form in which an image is stored and sent. */
export function storedFormat (kind: ReadableKind): ImageFormat {
  return kind === 'jpeg' || kind === 'webp' ? kind : 'png'
}

/**
 * Format, size and end of an image, without decoding a pixel.
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

/** Bytes of a TIFF or AVIF that are searched for its size. */
const longestHeader = 64 * 1_048_576

async function sizeOf (source: ByteSource, kind: ReadableKind): Promise<{ width: number, height: number } | null> {
  if (kind === 'png' || kind === 'jpeg' || kind === 'webp') return await readImageHeader(source)
  const head = await source.read(0, 64)
  if (head.length < 26 && (kind === 'bmp' || head.length < 10)) return null
  if (kind === 'gif') return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) }
  if (kind === 'bmp') {
    return head.readUInt32LE(14) === 12
      ? { width: head.readUInt16LE(18), height: head.readUInt16LE(20) }
      // a negative height means rows from top to bottom
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
 * Decodes the image to its end, away from the event loop.
 * @param input bytes, or the path of a file
 * @returns the PNG that replaces it for servers; null if it is sent unchanged
 * @throws ServiceError `invalid_image`
 */
export async function checkDecodable (
  input: Buffer | string, { field, limits, kind }: DecodableOptions
): Promise<Buffer | null> {
  try {
    return await decodeImage({ input, kind, maxPixels: limits.pixels })
  } catch (error) {
    const isCut = error instanceof Error && /premature end|unexpected end/i.test(error.message)
    const complaint = isCut
      ? `is ${wordFor(kind)} that was cut off before its end.`
      : `cannot be decoded; send a sound ${readableKinds}.`
    throw new ServiceError('invalid_image', name => `${name} ${complaint}`, { field }, { cause: error })
  }
}

export function imageTooLarge (field: string, limits: ImageLimits): ServiceError {
  const most = limits.bytes / 1_048_576
  const complaint = `is too large; an image can have at most ${most} MiB (IMAGE_MAX_MIB).`
  return new ServiceError('payload_too_large', name => `${name} ${complaint}`, { field })
}

function refusal (field: string, complaint: string): ServiceError {
  return new ServiceError('invalid_image', name => `${name} ${complaint}.`, { field })
}

/**
 * Base64 without the head of a data URL, if it has one.
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

/** A decoder's failure as an error of the field. */
export function notBase64 (error: unknown, field: string): unknown {
  return error instanceof Base64Fault ? refusal(field, `is not base64: ${error.message}`) : error
}

const aReadable = `a ${readableKinds}`

/** The format's name with its article. */
function wordFor (kind: ImageKind | null): string {
  const words: Partial<Record<ImageKind, string>> = {
    webp: 'a WebP', avif: 'an AVIF', svg: 'text or SVG', jxl: 'a JPEG XL', ico: 'an icon', video: 'a video'
  }
  return kind === null ? 'no image' : words[kind] ?? `a ${kind.toUpperCase()}`
}
