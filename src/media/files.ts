import { randomUUID } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, utimes } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { ServiceError } from '../lib/errors.ts'
import {
  asStorageError, createFileSink, type DraftFile, factsOf, type FileSink, flushFolder, hasCode, prepareDraftFolder,
  present, requireFolder, storing, untouched
} from './file-sink.ts'
import { outputFormatOf, outputFormats, outputHeadBytes } from './output-formats.ts'
import { draftFolderOf } from './storage.ts'

/** An image that is open for reading: call `stream` once, or `close`. */
export interface OpenFile {
  /** By content, whatever the name says. */
  readonly mime: string
  readonly bytes: number
  readonly modifiedAt: Date
  /**
   * The content, or the part of it from `start` to `end`, both included.
   * @throws ServiceError `storage_full`, `image_not_found`
   */
  stream (part?: { start: number, end: number }): Promise<Readable>
  /** An address of the file itself, valid for some seconds; only where clients are to be redirected. */
  readonly link?: (disposition: string) => { readonly url: string, readonly seconds: number }
  close (): Promise<void>
}

/**
 * Files of one kind by name: in a folder, or as objects of a bucket. A file is there whole or not at all, unless a
 * power cut came before `add` resolved. Every method throws ServiceError `storage_full` if the folder or bucket cannot
 * be used.
 */
export interface MediaFiles {
  /** A draft on this machine. `place` checks it and calls `add` or `keep`. */
  createSink<Outcome> (place: (draft: DraftFile) => Promise<Outcome>): Promise<FileSink<Outcome>>
  /** Gives a draft its name; false if another file has it. Resolves when a power cut cannot lose the file. */
  add (name: string, draft: DraftFile, mime: string): Promise<boolean>
  /** The same for a name that follows from the content. A file of this name and size counts as stored now. */
  keep (name: string, draft: DraftFile, mime: string): Promise<void>
  /** Stores a file that can be made again. */
  putBytes (name: string, bytes: Buffer, mime: string): Promise<void>
  /** Null if there is no such file. */
  read (name: string): Promise<Buffer | null>
  /** Null if there is no such image. */
  open (name: string): Promise<OpenFile | null>
  /** Removes a file, if it was stored before that time (milliseconds since the epoch). A missing one is no error. */
  remove (name: string, storedBefore?: number): Promise<void>
  /** Names of files that were stored before that time. */
  list (storedBefore: number): AsyncIterable<string>
  /** Removes drafts of dead processes, an hour old or older. */
  removeDrafts (): Promise<void>
}

export function noSuchImage (): ServiceError {
  return new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
}

/** An image is read in steps of this size. */
const readBytes = 256 * 1024
/** Refuses a link in place of a file, and does not wait for a pipe. */
const readPlainFile = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK

/** Subfolders of ours; a mount can have others, such as `lost+found`. */
const subfolder = /^[0-9a-f]{2}$/

/** Files in a folder, which can be a mount of its own. Names can have one subfolder. */
export async function createFolderFiles (folder: string): Promise<MediaFiles> {
  const drafts = draftFolderOf(folder)
  const pathOf = (name: string) => join(folder, name)
  await prepareDraftFolder(drafts)

  return {
    createSink: async place => await createFileSink(drafts, place),
    async add (name, draft) {
      const path = pathOf(name)
      if (!await draft.claim(path)) return false
      // Side by side, as a journal can then write both at once. Until then no record names the file.
      const flushed = await Promise.allSettled([draft.flush(), flushFolder(dirname(path))])
      const failed = flushed.find(one => one.status === 'rejected')
      if (failed === undefined) return true
      await rm(path, { force: true }).catch(() => {})
      throw failed.reason
    },
    async keep (name, draft) {
      const path = pathOf(name)
      // After a power cut a file can be shorter than before; such a file is written again.
      if ((await factsOf(path))?.size === draft.source.size) {
        const now = new Date()
        if (await present(async () => { await utimes(path, now, now); return true }) === true) return
      }
      await mkdir(dirname(path), { recursive: true, mode: 0o750 })
      await draft.flush()
      await draft.moveTo(pathOf(name))
      await flushFolder(dirname(pathOf(name)))
    },
    async putBytes (name, bytes) {
      const draft = join(drafts, randomUUID())
      await storing(async () => {
        const file = await open(draft, 'wx', 0o640)
        try {
          await file.writeFile(bytes)
        } finally {
          await file.close()
        }
        await rename(draft, pathOf(name))
      }).finally(async () => { await rm(draft, { force: true }) })
    },
    async read (name) {
      try {
        return await readFile(pathOf(name))
      } catch (error) {
        if (!hasCode(error, 'ENOENT')) throw asStorageError(error)
        await requireFolder(folder)
        return null
      }
    },
    async open (name) {
      try {
        return await describe(await open(pathOf(name), readPlainFile))
      } catch (error) {
        if (!hasCode(error, 'ENOENT', 'ELOOP', 'EMLINK', 'ENXIO')) throw asStorageError(error)
        await requireFolder(folder)
        return null
      }
    },
    async remove (name, storedBefore = Infinity) {
      if (await untouched(pathOf(name), storedBefore)) await rm(pathOf(name), { force: true })
    },
    async * list (storedBefore) {
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        if (entry.isDirectory() && !subfolder.test(entry.name)) continue
        const inner = entry.isDirectory() ? await readdir(pathOf(entry.name)) : null
        for (const name of inner?.map(each => `${entry.name}/${each}`) ?? [entry.name]) {
          if (await untouched(pathOf(name), storedBefore)) yield name
        }
      }
    },
    removeDrafts: async () => { await prepareDraftFolder(drafts) }
  }
}

/** Format and size of an open file; null if it is no image, and it is closed then. */
async function describe (file: FileHandle): Promise<OpenFile | null> {
  try {
    const facts = await file.stat()
    const { buffer, bytesRead } = facts.isFile()
      ? await file.read(Buffer.alloc(outputHeadBytes), 0, outputHeadBytes, 0)
      : { buffer: Buffer.alloc(0), bytesRead: 0 }
    const format = outputFormatOf(buffer.subarray(0, bytesRead))
    if (format === null) {
      await file.close()
      return null
    }
    return {
      mime: outputFormats[format].mime,
      bytes: facts.size,
      modifiedAt: facts.mtime,
      stream: async part => file.createReadStream({ start: 0, ...part, highWaterMark: readBytes }),
      close: () => file.close()
    }
  } catch (error) {
    await file.close()
    throw error
  }
}
