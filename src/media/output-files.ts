import { buffer } from 'node:stream/consumers'
import { corruptImage } from '../a1111/failures.ts'
import { ignoring, ServiceError } from '../lib/errors.ts'
import { isMoving, type StoredImage } from '../lib/media-types.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import sharp from '../lib/sharp.ts'
import { encodeForm, exactForm, type ExactForm, type OutputForm } from './encode-form.ts'
import { type DraftFile, type FileSink, storing } from './file-sink.ts'
import { type MediaFiles, noSuchImage, type OpenFile } from './files.ts'
import { isOutputName, outputFormatOf, outputFormats, outputName, readOutputHeader } from './output-formats.ts'

export type OutputSink = FileSink<Omit<StoredImage, 'role'>>

/** The outputs of a media store. */
export interface OutputFiles {
  /**
   * Stores one output image as it arrives.
   * @param index position in the server's answer, from 0
   * @param createdAt milliseconds since the epoch
   * @param form to store it in, if it is an image that can be converted
   */
  createOutputSink (jobId: string, index: number, createdAt: number, form?: OutputForm): Promise<OutputSink>
  /** @throws ServiceError `image_not_found`, also for every name that no output can have */
  openOutput (name: string): Promise<OpenFile>
  /** Removes an output; a missing one is no error. */
  removeOutput (name: string): Promise<void>
  /** Outputs from before `before` (milliseconds since the epoch), for finding those without a job. */
  listOutputs (before: number): AsyncIterable<string>
  /** The mark of the last sweep beside the outputs; null if there was none. */
  readSweepMark (): Promise<string | null>
  writeSweepMark (mark: string): Promise<void>
  /** Removes drafts of dead processes, an hour old or older. */
  removeOutputDrafts (): Promise<void>
}

/** The name of the mark among the outputs. */
const sweepMark = '.sweep.json'

/** Output images under the names by which clients fetch them. */
export function createOutputFiles (files: MediaFiles): OutputFiles {
  /** Takes the first free name, from this millisecond on. */
  async function place (
    draft: DraftFile, jobId: string, index: number, createdAt: number
  ): Promise<Omit<StoredImage, 'role'>> {
    const header = await readOutputHeader(draft.source, draft.path)
    if (header === null) throw corruptImage('it is no PNG, JPEG, WebP, GIF, AVIF, MP4 or WebM')
    const { mime, extension } = outputFormats[header.format]
    for (let timestamp = createdAt; ; timestamp++) {
      const name = outputName(jobId, timestamp, index, extension)
      if (!await files.add(name, draft, mime)) continue
      return { name, mime, width: header.width, height: header.height, bytes: draft.source.size, sha256: draft.sha256 }
    }
  }

  /** The same after a conversion; what cannot be converted stays as it is. */
  async function placeAs (
    form: ExactForm, draft: DraftFile, jobId: string, index: number, createdAt: number
  ): Promise<Omit<StoredImage, 'role'>> {
    const original = await draft.source.read(0, draft.source.size)
    const format = outputFormatOf(original)
    const isDone = format === null || isMoving(outputFormats[format].mime) || (format === form.format && format === 'png')
    const bytes = isDone ? null : await encodeForm(original, form).catch(ignoring('invalid_image'))
    if (!bytes) return await place(draft, jobId, index, createdAt)
    const sink = await files.createSink(async converted => await place(converted, jobId, index, createdAt))
    try {
      await sink.write(bytes)
      await sink.end()
    } catch (error) {
      await sink.abort()
      throw error
    }
    return await sink.finished
  }

  return {
    createOutputSink: async (jobId, index, createdAt, form) =>
      await files.createSink(async draft => form === undefined
        ? await place(draft, jobId, index, createdAt)
        : await placeAs(exactForm(form), draft, jobId, index, createdAt)),
    async openOutput (name) {
      const file = isOutputName(name) ? await files.open(name) : null
      if (file === null) throw noSuchImage()
      return file
    },
    async removeOutput (name) {
      if (isOutputName(name)) await files.remove(name)
    },
    async * listOutputs (before) {
      for await (const name of files.list(before)) if (isOutputName(name)) yield name
    },
    async readSweepMark () {
      return (await files.read(sweepMark))?.toString() ?? null
    },
    async writeSweepMark (mark) {
      await files.putBytes(sweepMark, Buffer.from(mark), 'application/json')
    },
    removeOutputDrafts: files.removeDrafts
  }
}

/** Thumbnails of outputs, created at the first request and then kept. */
export interface Thumbnails {
  /**
   * The thumbnail of an output, a WebP of at most 320 by 320 pixels.
   * @throws ServiceError `image_not_found` if there is no such output, `invalid_image` for one that cannot be decoded
   */
  openThumbnail (name: string): Promise<OpenFile>
  /** Removes it; a missing one is no error. */
  removeThumbnail (name: string): Promise<void>
}

/** Longest side in pixels. */
const longestSide = 320
const quality = 78
/** Number of outputs decoded at a time; each holds its pixels in memory. */
const atOnce = 2
/** Outputs of more pixels get no thumbnail. */
const maxPixels = 268_000_000

/**
 * Thumbnails under the names of their outputs.
 * @param outputs the only source of thumbnails
 */
export function createThumbnails (files: MediaFiles, outputs: Pick<OutputFiles, 'openOutput'>): Thumbnails {
  const making = new Map<string, Promise<void>>()
  const drawing = createSemaphore(atOnce)
  const nameOf = (output: string) => `${output}.webp`

  async function draw (name: string): Promise<void> {
    const image = await imageOf(await outputs.openOutput(name))
    await files.putBytes(nameOf(name), image, 'image/webp')
    // The output can have been removed meanwhile, and its thumbnail before this one was written.
    const still = await outputs.openOutput(name).catch(async error => {
      await files.remove(nameOf(name))
      throw error
    })
    await still.close()
  }

  /** All requests for a thumbnail in progress wait for that one. */
  async function make (name: string): Promise<void> {
    const made = making.get(name) ??
      drawing.run(async () => { await draw(name) }).finally(() => { making.delete(name) })
    making.set(name, made)
    await made
  }

  return {
    async openThumbnail (name) {
      if (!isOutputName(name)) throw noSuchImage()
      const made = await files.open(nameOf(name))
      if (made !== null) return made
      await make(name)
      const fresh = await files.open(nameOf(name))
      if (fresh === null) throw noSuchImage()
      return fresh
    },
    async removeThumbnail (name) {
      if (isOutputName(name)) await files.remove(nameOf(name))
    }
  }
}

/** Videos get a symbol, as nothing here decodes one. */
async function imageOf (output: OpenFile): Promise<Buffer> {
  if (!output.mime.startsWith('video/')) return await small(await storing(async () => await buffer(await output.stream())))
  await output.close()
  return await small(Buffer.from(videoSign))
}

const videoSign = `<svg xmlns="http://www.w3.org/2000/svg" width="320" height="320">
  <rect width="320" height="320" fill="#22262e"/><circle cx="160" cy="160" r="64" fill="none" stroke="#fff" stroke-width="8"/>
  <path d="M142 126l52 34-52 34z" fill="#fff"/></svg>`

/** Runs in the threads of the decoder, not in the event loop. */
async function small (image: Buffer): Promise<Buffer> {
  try {
    return await sharp(image, { limitInputPixels: maxPixels })
      .rotate()
      .resize({ width: longestSide, height: longestSide, fit: 'inside', withoutEnlargement: true })
      .webp({ quality })
      .toBuffer()
  } catch (error) {
    throw new ServiceError('invalid_image', 'No thumbnail can be made of this image.', {}, { cause: error })
  }
}
