import sharp from '../lib/sharp.ts'
import { type ByteSource, type ImageExtension, imageFormatOf, imageFormats, readImageHeader } from './image-header.ts'

/** Formats in a server's `images`: images, and the videos of scripts such as AnimateDiff. */
export const outputFormats = {
  ...imageFormats,
  gif: { mime: 'image/gif', extension: 'gif' },
  avif: { mime: 'image/avif', extension: 'avif' },
  mp4: { mime: 'video/mp4', extension: 'mp4' },
  webm: { mime: 'video/webm', extension: 'webm' }
} as const

export type OutputFormat = keyof typeof outputFormats
export type OutputExtension = (typeof outputFormats)[OutputFormat]['extension']

/** Enough to recognise every format. */
export const outputHeadBytes = 64
/** Headers of videos are shorter than this; they can be at the end. */
const longestHeader = 1_048_576
const maxBoxes = 1000
const ebml = Buffer.from([0x1a, 0x45, 0xdf, 0xa3])

/** The format by magic bytes; null for anything that is not passed on. */
export function outputFormatOf (head: Buffer): OutputFormat | null {
  const image = imageFormatOf(head)
  if (image !== null) return image
  if (/^GIF8[79]a/.test(head.toString('latin1', 0, 6))) return 'gif'
  if (head.toString('latin1', 4, 8) === 'ftyp') return formatOfBrands(head)
  return head.subarray(0, 4).equals(ebml) && head.includes('webm', 4, 'latin1') ? 'webm' : null
}

/** ISO base media files list their brands: first the main one, then those that fit as well. */
function formatOfBrands (head: Buffer): OutputFormat | null {
  const end = Math.min(head.readUInt32BE(0), head.length)
  const brands = head.toString('latin1', 8, end).match(/.{4}/gs) ?? []
  if (brands.some(brand => brand === 'avif' || brand === 'avis')) return 'avif'
  return brands.some(brand => /^(iso[m2-9]|mp4[12]|avc1|M4V |dash|MSNV|3gp\d)$/.test(brand)) ? 'mp4' : null
}

export interface OutputHeader {
  readonly format: OutputFormat
  /** Pixels; 0 if the header has no size. */
  readonly width: number
  readonly height: number
}

/**
 * Format and size of an output; null for a format that is not passed on.
 * @param path of the file, for the decoder
 */
export async function readOutputHeader (source: ByteSource, path: string): Promise<OutputHeader | null> {
  const format = outputFormatOf(await source.read(0, outputHeadBytes))
  if (format === null) return null
  if (format in imageFormats) return await readImageHeader(source)
  if (format === 'mp4') return { format, ...await mp4Size(source) }
  if (format === 'webm') return { format, ...await webmSize(source) }
  try {
    const { width, height, pageHeight = height } = await sharp(path).metadata()
    return { format, width, height: pageHeight }
  } catch {
    return null
  }
}

interface Size { readonly width: number, readonly height: number }

const unknownSize: Size = { width: 0, height: 0 }

/** The first track that has a size: the end of its header `tkhd`, as fixed-point numbers (ISO/IEC 14496-12). */
async function mp4Size (source: ByteSource): Promise<Size> {
  let position = 0
  for (let box = 0; box < maxBoxes; box++) {
    const head = await source.read(position, 16)
    if (head.length < 16) return unknownSize
    const short = head.readUInt32BE(0)
    const size = short === 1 ? Number(head.readBigUInt64BE(8)) : short === 0 ? source.size - position : short
    if (head.toString('latin1', 4, 8) === 'moov') return trackSize(await source.read(position, Math.min(size, longestHeader)))
    if (size < 8) return unknownSize
    position += size
  }
  return unknownSize
}

function trackSize (moov: Buffer): Size {
  for (let at = moov.indexOf('tkhd', 4, 'latin1'); at >= 4; at = moov.indexOf('tkhd', at + 4, 'latin1')) {
    const end = at - 4 + moov.readUInt32BE(at - 4)
    if (end < at + 8 || end > moov.length) continue
    const [width, height] = [moov.readUInt16BE(end - 8), moov.readUInt16BE(end - 4)]
    if (width > 0 && height > 0) return { width, height }
  }
  return unknownSize
}

/** PixelWidth and PixelHeight of the first video track, which follow each other (Matroska, RFC 9559). */
async function webmSize (source: ByteSource): Promise<Size> {
  const head = await source.read(0, 65_536)
  const width = elementAt(head, 0xb0, 0)
  const height = width === null ? null : elementAt(head, 0xba, width.end)
  return width === null || height === null ? unknownSize : { width: width.value, height: height.value }
}

/** A number of one or two bytes behind the sign of its element. */
function elementAt (bytes: Buffer, sign: number, from: number): { value: number, end: number } | null {
  for (let at = bytes.indexOf(sign, from); at !== -1 && at + 4 <= bytes.length; at = bytes.indexOf(sign, at + 1)) {
    const length = (bytes[at + 1] ?? 0) - 0x80
    if (length !== 1 && length !== 2) continue
    const value = bytes.readUIntBE(at + 2, length)
    if (value >= 16 && value <= 16_384) return { value, end: at + 2 + length }
  }
  return null
}

/** `<first 8 of the job id>_<ISO time with : and . as ->_<index>.<extension>` */
const outputGrammar = /^[0-9a-z]{8}_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-\d{3}Z_\d{1,4}\.(?:png|jpg|webp|gif|avif|mp4|webm)$/
const inputGrammar = /^[0-9a-f]{64}\.(?:png|jpg|webp)$/

/**
 * The public name of an output image, which old clients parse.
 * @param createdAt milliseconds since the epoch
 * @param index position in the server's answer, from 0
 */
export function outputName (jobId: string, createdAt: number, index: number, extension: OutputExtension): string {
  return `${jobId.slice(0, 8)}_${new Date(createdAt).toISOString().replace(/[:.]/g, '-')}_${index}.${extension}`
}

/** Whether this service could have given an output this name; such a name stays in its folder. */
export function isOutputName (name: string): boolean {
  return outputGrammar.test(name)
}

export function inputName (sha256: string, extension: ImageExtension): string {
  return `${sha256}.${extension}`
}

/** Whether this is the name of an input; such a name stays in its folder. */
export function isInputName (name: string): boolean {
  return inputGrammar.test(name)
}
