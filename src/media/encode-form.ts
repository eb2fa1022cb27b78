import { crc32 } from 'node:zlib'
import { ServiceError } from '../lib/errors.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import sharp from '../lib/sharp.ts'
import { readGenerationText } from './generation-text.ts'

/** Formats in which clients can have an output, and the quality of each by default; null for lossless. */
export const formQualities = { png: null, jpeg: 85, webp: 80, avif: 50 } as const

export type FormFormat = keyof typeof formQualities

/** Qualities are rounded to multiples of this, so that an output has a bounded number of forms. */
const qualityStep = 5
export const qualities = Array.from({ length: 100 / qualityStep }, (_none, index) => (index + 1) * qualityStep)
/** Outputs encoded at a time; each holds its pixels in memory. */
const atOnce = 2
const maxPixels = 268_000_000
/** A segment of a JPEG holds less than 64 KiB. */
const longestJpegComment = 64_000

export interface OutputForm {
  readonly format: FormFormat
  /** 1 to 100; the format's usual one if omitted. */
  readonly quality?: number | undefined
}

/**
 * The form that a request asks for; null for none.
 * @param names of its fields
 * @throws ServiceError `invalid_field_value` for a quality that nothing uses
 */
export function formAsked (
  format: FormFormat | 'jpg' | null | undefined, quality: number | null | undefined,
  [formatField, qualityField]: readonly [string, string]
): OutputForm | null {
  if (quality != null && (format == null || format === 'png')) {
    throw new ServiceError('invalid_field_value', name => `${name} needs ${formatField} jpeg, webp or avif.`,
      { field: qualityField })
  }
  if (format == null) return null
  return { format: format === 'jpg' ? 'jpeg' : format, ...(quality == null ? {} : { quality }) }
}

/** The same with the quality that is used; null for a lossless format. */
export interface ExactForm {
  readonly format: FormFormat
  readonly quality: number | null
}

export function exactForm ({ format, quality }: OutputForm): ExactForm {
  const usual = formQualities[format]
  const isUsual = usual === null || quality === undefined
  return { format, quality: isUsual ? usual : Math.max(qualityStep, Math.round(quality / qualityStep) * qualityStep) }
}

const encoding = createSemaphore(atOnce)

/**
 * The image in another format, with its generation parameters inside.
 * @throws ServiceError `invalid_image`
 */
export async function encodeForm (original: Buffer, form: ExactForm): Promise<Buffer> {
  return await encoding.run(async () => await encode(original, form))
}

/** Runs in the threads of the encoder, not in the event loop. */
async function encode (original: Buffer, { format, quality }: ExactForm): Promise<Buffer> {
  const text = await readGenerationText(original)
  try {
    const image = sharp(withComment(original, text, format), { limitInputPixels: maxPixels })
      .keepExif().keepIccProfile()
    if (format === 'png') return withPngText(await image.png().toBuffer(), text)
    const options = { quality: quality ?? 80 }
    if (format === 'jpeg') return await image.flatten({ background: '#fff' }).jpeg({ ...options, mozjpeg: false }).toBuffer()
    return format === 'webp' ? await image.webp(options).toBuffer() : await image.avif({ ...options, effort: 2 }).toBuffer()
  } catch (error) {
    throw new ServiceError('invalid_image', `This image cannot be converted to ${format}.`, { field: 'format' }, { cause: error })
  }
}

/** First bytes of a PNG up to the end of its header chunk. */
const pngHeaderBytes = 33

/**
 * A PNG with its parameters as EXIF's UserComment too, as A1111 writes them into other formats; the encoder keeps EXIF
 * byte for byte. Other formats have them there already.
 */
function withComment (image: Buffer, text: string | null, format: FormFormat): Buffer {
  if (text === null || format === 'png' || image.toString('latin1', 1, 4) !== 'PNG') return image
  const comment = Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from(text, 'utf16le').swap16()])
  if (format === 'jpeg' && comment.length > longestJpegComment) return image
  return withChunk(image, 'eXIf', exifOf(comment))
}

/** EXIF with this UserComment alone (EXIF 2.32, §4.6): a directory that points to EXIF's own. */
function exifOf (comment: Buffer): Buffer {
  const tiff = Buffer.alloc(44)
  tiff.write('MM\0*\0\0\0\x08', 'latin1')
  const directory = (at: number, tag: number, type: number, count: number, value: number) => {
    tiff.writeUInt16BE(1, at)
    tiff.writeUInt16BE(tag, at + 2)
    tiff.writeUInt16BE(type, at + 4)
    tiff.writeUInt32BE(count, at + 6)
    tiff.writeUInt32BE(value, at + 10)
  }
  directory(8, 0x8769, 4, 1, 26)
  directory(26, 0x9286, 7, comment.length, 44)
  return Buffer.concat([tiff, comment])
}

function withPngText (png: Buffer, text: string | null): Buffer {
  if (text === null) return png
  return withChunk(png, 'iTXt', Buffer.concat([Buffer.from('parameters\0\0\0\0\0', 'latin1'), Buffer.from(text)]))
}

function withChunk (png: Buffer, type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const ends = Buffer.alloc(8)
  ends.writeUInt32BE(data.length, 0)
  ends.writeUInt32BE(crc32(body), 4)
  const chunk = [ends.subarray(0, 4), body, ends.subarray(4)]
  return Buffer.concat([png.subarray(0, pngHeaderBytes), ...chunk, png.subarray(pngHeaderBytes)])
}
