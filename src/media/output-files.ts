import { constants } from 'node:fs'
import { open, readdir, readFile, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { corruptImage } from '../a1111/failures.ts'
import { ServiceError } from '../errors.ts'
import {
  asStorageError, createFileSink, flushFolder, hasCode, prepareDraftFolder, present, requireFolder, untouched,
  type DraftFile, type FileSink
} from './file-sink.ts'
import { outputFormatOf, outputFormats, outputHeadBytes, readOutputHeader, type OutputExtension } from './output-formats.ts'
import { isOutputName, outputName } from './names.ts'
import { draftFolderOf } from './storage-check.ts'
import type { StoredImage } from './types.ts'

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

/** A picture is read in steps of this size. */
const readBytes = 256 * 1024
/** A link in place of a file is refused, and a pipe does not make us wait. */
export const readPlainFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** The outputs of a media store. */
export interface OutputFiles {
  /**
   * Takes one output image as it arrives.
   * @param index place in the server's answer, from 0
   * @param createdAt milliseconds since the epoch
   */
  createOutputSink (jobId: string, index: number, createdAt: number): Promise<OutputSink>
  /** @throws ServiceError `image_not_found`, also for every name that no output can have */
  openOutput (name: string): Promise<OpenOutput>
  /** Removes an output; one that is not there is no error. */
  removeOutput (name: string): Promise<void>
  /** Outputs that were there before `before` (milliseconds since the epoch), for finding those of no job. */
  listOutputs (before: number): AsyncIterable<string>
  /** The mark that the last sweep left beside the outputs; null where none did. */
  readSweepMark (): Promise<string | null>
  writeSweepMark (mark: string): Promise<void>
  /** Removes what was left half written an hour ago or longer, by a process that died. */
  removeOutputDrafts (): Promise<void>
}

/** Output images in one flat folder, under the names by which callers fetch them. */
export async function createOutputFiles (folder: string): Promise<OutputFiles> {
  const drafts = draftFolderOf(folder)
  const sweepMark = join(folder, '.sweep.json')
  await prepareDraftFolder(drafts)

  /**
   * Takes the first free name, from this millisecond on. The empty file that takes it is replaced in one step, so
   * nothing is ever overwritten, on any file system.
   */
  async function claimName (jobId: string, index: number, extension: OutputExtension, moment: number): Promise<string> {
    const name = outputName(jobId, moment, index, extension)
    try {
      await (await open(join(folder, name), 'wx', 0o640)).close()
      return name
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
      return await claimName(jobId, index, extension, moment + 1)
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

/** What an open file of an image is. @throws ServiceError `image_not_found` when it is none; it is closed then */
export async function describe (file: FileHandle): Promise<OpenOutput> {
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

export function noSuchImage (): ServiceError {
  return new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
}
