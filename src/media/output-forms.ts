import { buffer } from 'node:stream/consumers'
import { crc32 } from 'node:zlib'
import { ServiceError } from '../lib/errors.ts'
import { isMoving } from '../lib/media-types.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import sharp from '../lib/sharp.ts'
import { storing } from './file-sink.ts'
import { type MediaFiles, noSuchImage, type OpenFile } from './files.ts'
import { readGenerationText } from './generation-text.ts'
import type { OutputFiles } from './output-files.ts'
import { isOutputName, outputFormats } from './output-formats.ts'

/** Formats in which clients can have an output, and the quality of each by default; null for lossless. */
const formQualities = { png: null, jpeg: 85, webp: 80, avif: 50 } as const

export type FormFormat = keyof typeof formQualities

/** Qualities are rounded to multiples of this, so that an output has a bounded number of forms. */
const qualityStep = 5
const qualities = Array.from({ length: 100 / qualityStep }, (_none, index) => (index + 1) * qualityStep)
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

/** Outputs in other formats, created at the first request and then kept. */
export interface OutputForms {
  /**
   * The output itself, if it has the format and no quality is given.
   * @throws ServiceError `image_not_found`; `invalid_field_value` for what cannot be converted; `invalid_image`
   */
  openForm (name: string, form: OutputForm): Promise<OpenFile>
  /** Removes all forms of an output. */
  removeForms (name: string): Promise<void>
}

/** @param files where forms are kept, beside thumbnails */
export function createOutputForms (files: MediaFiles, outputs: Pick<OutputFiles, 'openOutput'>): OutputForms {
  const making = new Map<string, Promise<void>>()
  const encoding = createSemaphore(atOnce)
  /** Says that an output has forms, so that removing one without any costs one look. */
  const markOf = (output: string) => `${output}.forms`

  async function make (output: string, form: Required<FormOf>, name: string): Promise<void> {
    const original = await storing(async () => await buffer(await (await outputs.openOutput(output)).stream()))
    const bytes = await encode(original, form)
    await files.putBytes(markOf(output), Buffer.from('1'), 'text/plain')
    await files.putBytes(name, bytes, outputFormats[form.format].mime)
    // The output can have been removed meanwhile, and its forms before this one was written.
    const still = await outputs.openOutput(output).catch(async error => {
      await files.remove(name)
      throw error
    })
    await still.close()
  }

  return {
    async openForm (output, { format, quality }) {
      if (!isOutputName(output)) throw noSuchImage()
      const original = await outputs.openOutput(output)
      if (original.mime === outputFormats[format].mime && quality === undefined) return original
      await original.close()
      if (isMoving(original.mime)) {
        throw invalidFormat(`${output} is a video or an animation; fetch it without format.`)
      }
      const form = { format, quality: usedQuality(format, quality) }
      const name = nameOf(output, form)
      const made = await files.open(name)
      if (made !== null) return made
      const work = making.get(name) ??
        encoding.run(async () => { await make(output, form, name) }).finally(() => { making.delete(name) })
      making.set(name, work)
      await work
      const fresh = await files.open(name)
      if (fresh === null) throw noSuchImage()
      return fresh
    },
    async removeForms (output) {
      if (!isOutputName(output) || await files.read(markOf(output)) === null) return
      for (const format of Object.keys(formQualities) as FormFormat[]) {
        const each = formQualities[format] === null ? [null] : qualities
        await Promise.all(each.map(async quality => { await files.remove(nameOf(output, { format, quality })) }))
      }
      await files.remove(markOf(output))
    }
  }
}

interface FormOf {
  readonly format: FormFormat
  readonly quality: number | null
}

function nameOf (output: string, { format, quality }: FormOf): string {
  return `${output}${quality === null ? '' : `.q${quality}`}.${outputFormats[format].extension}.form`
}

function usedQuality (format: FormFormat, quality: number | undefined): number | null {
  const usual = formQualities[format]
  if (usual === null || quality === undefined) return usual
  return Math.max(qualityStep, Math.round(quality / qualityStep) * qualityStep)
}

function invalidFormat (sentence: string): ServiceError {
  return new ServiceError('invalid_field_value', sentence, { field: 'format' })
}

/** Runs in the threads of the encoder, not in the event loop. */
async function encode (original: Buffer, { format, quality }: FormOf): Promise<Buffer> {
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
