import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { corruptImage } from '../a1111/failures.ts'
import { ServiceError } from '../lib/errors.ts'
import type { StoredImage } from '../lib/media-types.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import sharp from '../lib/sharp.ts'
import {
  asStorageError, createFileSink, type DraftFile, type FileSink, flushFolder, hasCode, prepareDraftFolder, present,
  requireFolder, storing, untouched
} from './file-sink.ts'
import {
  isOutputName, type OutputExtension, outputFormatOf, outputFormats, outputHeadBytes, outputName, readOutputHeader
} from './output-formats.ts'
import { draftFolderOf } from './storage.ts'

export type OutputSink = FileSink<Omit<StoredImage, 'role'>>

/** An output image that is open for reading: call `stream` once, or `close`. */
export interface OpenOutput {
  /** By content, whatever the name says. */
  readonly mime: string
  readonly bytes: number
  readonly modifiedAt: Date
  /** The content, or the part of it from `start` to `end`, both included. */
  stream (part?: { start: number, end: number }): Readable
  close (): Promise<void>
}

/** An image is read in steps of this size. */
const readBytes = 256 * 1024
/** Refuses a link in place of a file, and does not wait for a pipe. */
const readPlainFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The outputs of a media store. */
export interface OutputFiles {
  /**
   * Stores one output image as it arrives.
   * @param index position in the server's answer, from 0
   * @param createdAt milliseconds since the epoch
   */
  createOutputSink (jobId: string, index: number, createdAt: number): Promise<OutputSink>
  /** @throws ServiceError `image_not_found`, also for every name that no output can have */
  openOutput (name: string): Promise<OpenOutput>
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

/** Output images in one flat folder, under the names by which clients fetch them. */
export async function createOutputFiles (folder: string): Promise<OutputFiles> {
  const drafts = draftFolderOf(folder)
  const sweepMark = join(folder, '.sweep.json')
  await prepareDraftFolder(drafts)

  /**
   * Takes the first free name, from this millisecond on. The empty file that reserves it is replaced in one step, so
   * nothing is ever overwritten, on any file system.
   */
  async function claimName (
    jobId: string, index: number, extension: OutputExtension, timestamp: number
  ): Promise<string> {
    const name = outputName(jobId, timestamp, index, extension)
    try {
      await (await open(join(folder, name), 'wx', 0o640)).close()
      return name
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      return await claimName(jobId, index, extension, timestamp + 1)
    }
  }

  async function place (
    { path, source, sha256, flush }: DraftFile, jobId: string, index: number, createdAt: number
  ): Promise<Omit<StoredImage, 'role'>> {
    const header = await readOutputHeader(source, path)
    if (header === null) throw corruptImage('it is no PNG, JPEG, WebP, GIF, AVIF, MP4 or WebM')
    const { mime, extension } = outputFormats[header.format]
    await flush()
    const name = await claimName(jobId, index, extension, createdAt)
    try {
      await rename(path, join(folder, name))
    } catch (error) {
      await rm(join(folder, name), { force: true })
      throw error
    }
    await flushFolder(folder)
    return { name, mime, width: header.width, height: header.height, bytes: source.size, sha256 }
  }

  return {
    createOutputSink: async (jobId, index, createdAt) =>
      await createFileSink(drafts, async draft => await place(draft, jobId, index, createdAt)),
    async openOutput (name) {
      if (!isOutputName(name)) throw noSuchImage()
      try {
        return await describe(await open(join(folder, name), readPlainFile))
      } catch (error) {
        if (!hasCode(error, 'ENOENT', 'ELOOP', 'EMLINK', 'ENXIO')) throw asStorageError(error)
        await requireFolder(folder)
        throw noSuchImage()
      }
    },
    async removeOutput (name) {
      if (isOutputName(name)) await rm(join(folder, name), { force: true })
    },
    async * listOutputs (before) {
      for (const name of await readdir(folder)) {
        if (isOutputName(name) && await untouched(join(folder, name), before)) yield name
      }
    },
    async readSweepMark () {
      return await present(() => readFile(sweepMark, 'utf8'))
    },
    async writeSweepMark (mark) {
      const draft = `${sweepMark}.new`
      await writeFile(draft, mark)
      await rename(draft, sweepMark)
    },
    removeOutputDrafts: async () => { await prepareDraftFolder(drafts) }
  }
}

/** Format and size of an open file. @throws ServiceError `image_not_found` if it is no image; it is closed then */
async function describe (file: FileHandle): Promise<OpenOutput> {
  try {
    const facts = await file.stat()
    if (!facts.isFile()) throw noSuchImage()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(outputHeadBytes), 0, outputHeadBytes, 0)
    const format = outputFormatOf(buffer.subarray(0, bytesRead))
    if (format === null) throw noSuchImage()
    return {
      mime: outputFormats[format].mime,
      bytes: facts.size,
      modifiedAt: facts.mtime,
      stream: part => file.createReadStream({ start: 0, ...part, highWaterMark: readBytes }),
      close: () => file.close()
    }
  } catch (error) {
    await file.close()
    throw error
  }
}

function noSuchImage (): ServiceError {
  return new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
}

/** Thumbnails of outputs, created at the first request and then kept. */
export interface Thumbnails {
  /**
   * The thumbnail of an output, a WebP of at most 320 by 320 pixels.
   * @throws ServiceError `image_not_found` if there is no such output, `invalid_image` for one that cannot be decoded
   */
  openThumbnail (name: string): Promise<OpenOutput>
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
 * Thumbnails in a folder of their own, under the names of their outputs.
 * @param outputs the only source of thumbnails
 */
export async function createThumbnails (
  folder: string, outputs: Pick<OutputFiles, 'openOutput'>
): Promise<Thumbnails> {
  const drafts = join(folder, '.drafts')
  await prepareDraftFolder(drafts)
  const making = new Map<string, Promise<void>>()
  const drawing = createSemaphore(atOnce)
  const pathOf = (name: string) => join(folder, `${name}.webp`)

  async function draw (name: string): Promise<void> {
    const output = await outputs.openOutput(name)
    const image = await imageOf(output)
    const draft = join(drafts, randomUUID())
    await storing(async () => {
      const file = await open(draft, 'wx', 0o640)
      try {
        await file.writeFile(image)
      } finally {
        await file.close()
      }
      await rename(draft, pathOf(name))
    }).finally(async () => { await rm(draft, { force: true }) })
    // The output can have been removed meanwhile, and its thumbnail before this one was written.
    const still = await outputs.openOutput(name).catch(async error => {
      await rm(pathOf(name), { force: true })
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

  async function openMade (name: string): Promise<OpenOutput | null> {
    try {
      return await describe(await open(pathOf(name), readPlainFile))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return null
      throw error
    }
  }

  return {
    async openThumbnail (name) {
      if (!isOutputName(name)) throw noSuchImage()
      const made = await openMade(name)
      if (made !== null) return made
      await make(name)
      const fresh = await openMade(name)
      if (fresh === null) throw noSuchImage()
      return fresh
    },
    async removeThumbnail (name) {
      if (isOutputName(name)) await rm(pathOf(name), { force: true })
    }
  }
}

/** Videos get a symbol, as nothing here decodes one. */
async function imageOf (output: OpenOutput): Promise<Buffer> {
  if (!output.mime.startsWith('video/')) return await small(await buffer(output.stream()))
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
