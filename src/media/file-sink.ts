import { createHash, randomUUID } from 'node:crypto'
import * as fs from 'node:fs'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ImageSink } from '../a1111/types.ts'
import { ServiceError } from '../lib/errors.ts'
import { blockBytes, borrowBlock, returnBlock } from './blocks.ts'
import { fileSource, type ByteSource } from './image-header.ts'
import { storageError, storageFaultOf } from './storage-fault.ts'

/** These cost a fifth less than those of node:fs/promises, which make an object of each file. */
const openFile = promisify(fs.open)
const readFile = promisify(fs.read)
const writeFile = promisify(fs.write)
const syncFile = promisify(fs.fsync)
const closeFile = promisify(fs.close)
const link = promisify(fs.link)
const unlink = promisify(fs.unlink)

/** A complete file that has no final name yet. */
export interface DraftFile {
  readonly path: string
  /** Its bytes can change after `place`. */
  readonly source: ByteSource
  /** Lowercase hexadecimal. */
  readonly sha256: string
  /** Resolves once the content is on the disk. */
  flush (): Promise<void>
  /** Gives it another name, and replaces a file of that name. */
  moveTo (path: string): Promise<void>
  /** The same, unless there is a file of that name; answers whether there was none. */
  claim (path: string): Promise<boolean>
}

/** A sink whose content becomes a file. `end()` does not wait for the disk; `finished` does. */
export interface FileSink<Outcome> extends ImageSink {
  /** The result of `place`; rejects with its error, and after `abort()`. */
  readonly finished: Promise<Outcome>
  /** After a failure, and before `abort()`: everything written so far; null if it is unreadable. */
  rescue (): Promise<Buffer | null>
}

/** The first bytes of a larger file that are kept for reading what it is. */
const headBytes = 4096

/** Drafts of this age were left by a dead process, in milliseconds. */
const abandonedAfterMs = 3_600_000

/**
 * Writes into a draft while hashing; at the end `place` checks the draft and moves it to its final name. No failure
 * leaves a draft.
 * @throws ServiceError `storage_full`, from here, `write` and `finished`
 */
export async function createFileSink<Outcome> (
  draftFolder: string, place: (draft: DraftFile) => Promise<Outcome>
): Promise<FileSink<Outcome>> {
  const path = join(draftFolder, randomUUID())
  const file = await storing(() => openFile(path, 'wx+', 0o640))
  const hash = createHash('sha256')
  /** Bytes in the file, and those at the beginning of the block that are still to be written. */
  let size = 0
  let pending = 0
  let block: Buffer | null = null
  let isWriting = false
  /** The first bytes of the file, which say what it is. */
  let head: Buffer = Buffer.alloc(0)
  let isMoved = false
  let isFlushed = false
  let ended = false
  let rescued: Buffer | null = null
  let resolve: (outcome: Outcome) => void
  let reject: (reason: unknown) => void
  const finished = new Promise<Outcome>((...settlers) => { [resolve, reject] = settlers })
  finished.catch(() => {}) // an aborted sink reports to nothing

  async function clear (): Promise<void> {
    // A folder that is not writable keeps the draft until the next clean-up.
    // After a flush nothing is left to be written, so closing cannot wait for a disk.
    if (isFlushed) fs.closeSync(file)
    if (block !== null && !isWriting) returnBlock(block)
    block = null
    await Promise.all([isFlushed ? null : closeFile(file), isMoved ? null : unlink(path).catch(() => {})])
  }

  async function append (bytes: Buffer): Promise<void> {
    isWriting = true
    await storing(() => writeWhole(file, bytes)).finally(() => { isWriting = false })
    if (size === 0) head = Buffer.from(bytes.subarray(0, headBytes))
    size += bytes.length
  }

  async function writePending (): Promise<void> {
    if (block === null || pending === 0) return
    await append(block.subarray(0, pending))
    pending = 0
  }

  async function readBack (): Promise<Buffer | null> {
    try {
      const bytes = Buffer.allocUnsafeSlow(size + pending)
      block?.copy(bytes, size, 0, pending)
      return (await readFile(file, bytes, 0, size, 0)).bytesRead === size ? bytes : null
    } catch {
      return null
    }
  }

  async function settle (): Promise<Outcome> {
    try {
      const whole = size === 0 ? block?.subarray(0, pending) : undefined
      await writePending()
      const draft: DraftFile = {
        path,
        source: fileSource(async (...part) => (await readFile(file, ...part)).bytesRead, size, whole ?? head),
        sha256: hash.digest('hex'),
        async flush () {
          await syncFile(file)
          isFlushed = true
        },
        async moveTo (target) {
          await rename(path, target)
          isMoved = true
        },
        async claim (target) {
          const outcome = await claimName(path, target)
          isMoved = outcome === 'moved'
          return outcome !== 'taken'
        }
      }
      return await storing(() => place(draft))
    } catch (error) {
      if (storageFaultOf(error) !== null) rescued = await readBack()
      throw error
    } finally {
      await clear()
    }
  }

  return {
    finished,
    async write (bytes) {
      block ??= borrowBlock()
      // All of them or none: after a failure the caller still has these.
      if (pending + bytes.length > blockBytes) await writePending()
      if (bytes.length > blockBytes) await append(bytes)
      // Null after an abort meanwhile.
      else if (block !== null) pending += bytes.copy(block, pending)
      hash.update(bytes)
    },
    rescue: async () => ended ? rescued : await readBack(),
    async end () {
      ended = true
      settle().then(resolve, reject)
    },
    async abort () {
      if (ended) return
      ended = true
      reject(new Error('The image broke off before its end.'))
      await clear()
    }
  }
}

/** Writes all bytes at the end of the file. */
async function writeWhole (file: number, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length;) done += (await writeFile(file, bytes, done)).bytesWritten
}

/** File systems without hard links, such as FAT and some network drives, refuse them in one of these ways. */
const withoutLinks = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']

/**
 * Gives a draft a name that no other file has, also on a file system without links: there an empty file reserves the
 * name, and is replaced in one step.
 */
async function claimName (draft: string, target: string): Promise<'linked' | 'moved' | 'taken'> {
  try {
    await link(draft, target)
    return 'linked'
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return 'taken'
    if (!hasCode(error, ...withoutLinks)) throw error
  }
  try {
    await closeFile(await openFile(target, 'wx', 0o640))
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return 'taken'
    throw error
  }
  try {
    await rename(draft, target)
    return 'moved'
  } catch (error) {
    await rm(target, { force: true })
    throw error
  }
}

/** Creates the folder and removes the drafts of dead processes. */
export async function prepareDraftFolder (folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o750 })
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if (await untouched(path, Date.now() - abandonedAfterMs)) await rm(path, { force: true })
  }
}

/** Whether the file is there and was not written or touched since. */
export async function untouched (path: string, since: number): Promise<boolean> {
  const facts = await factsOf(path)
  return facts !== null && facts.mtimeMs < since
}

/** Null if there is no such file. */
export async function factsOf (path: string): Promise<fs.Stats | null> {
  return await present(() => stat(path))
}

/** Null if the file was removed meanwhile. */
export async function present<Outcome> (work: () => Promise<Outcome>): Promise<Outcome | null> {
  try {
    return await work()
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw error
  }
}

interface KeptFolder {
  readonly descriptor: Promise<number>
  flushes: number
  timer?: NodeJS.Timeout
}

/** Folders that were flushed just now: opening one again for each image costs two system calls and a thread's turn. */
const keptFolders = new Map<string, KeptFolder>()
/** In milliseconds; short, so that a drive can be unmounted. */
const folderKeptFor = 1000

/** Makes a change of names in this folder survive a power cut. */
export async function flushFolder (folder: string): Promise<void> {
  const kept = keptFolders.get(folder) ?? { descriptor: openFile(folder, 'r'), flushes: 0 }
  keptFolders.set(folder, kept)
  kept.flushes++
  clearTimeout(kept.timer)
  try {
    await syncFile(await kept.descriptor)
  } catch (error) {
    if (keptFolders.get(folder) === kept) keptFolders.delete(folder)
    throw error
  } finally {
    kept.flushes--
    if (kept.flushes === 0) letGoOf(folder, kept)
  }
}

function letGoOf (folder: string, kept: KeptFolder): void {
  const isLast = keptFolders.get(folder) === kept
  kept.timer = setTimeout(() => {
    if (isLast) keptFolders.delete(folder)
    // Nothing is left to be written, so this cannot wait for a disk.
    kept.descriptor.then(fs.closeSync, () => {})
  }, isLast ? folderKeptFor : 0).unref()
}

/** Runs file work; turns failures of the disk or the system into errors for clients. */
export async function storing<Outcome> (work: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await work()
  } catch (error) {
    throw asStorageError(error)
  }
}

/** Turns a failure of the disk or the system into an error for clients; other errors pass through. */
export function asStorageError (error: unknown): unknown {
  const fault = error instanceof ServiceError ? null : storageFaultOf(error)
  return fault === null ? error : storageError(fault, error)
}

/** A missing file means nothing if its whole folder is missing. @throws ServiceError `storage_full` */
export async function requireFolder (folder: string): Promise<void> {
  await storing(() => stat(folder))
}

/** Whether a system call failed for one of these reasons. */
export function hasCode (error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
