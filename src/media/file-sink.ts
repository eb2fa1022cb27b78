import { createHash, randomUUID } from 'node:crypto'
import type { Stats } from 'node:fs'
import { mkdir, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ImageSink } from '../a1111/types.ts'
import { ServiceError } from '../lib/errors.ts'
import { fileSource, type ByteSource } from './image-header.ts'
import { storageError, storageFaultOf } from './storage.ts'

/** A complete file that has no final name yet. */
export interface DraftFile {
  readonly path: string
  readonly source: ByteSource
  /** Lowercase hexadecimal. */
  readonly sha256: string
  /** Resolves once the content is on the disk. */
  flush (): Promise<void>
}

/** A sink whose content becomes a file. `end()` does not wait for the disk; `finished` does. */
export interface FileSink<Outcome> extends ImageSink {
  /** The result of `place`; rejects with its error, and after `abort()`. */
  readonly finished: Promise<Outcome>
  /** After a failure, and before `abort()`: everything written so far; null if it is unreadable. */
  rescue (): Promise<Buffer | null>
}

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
  const file = await storing(() => open(path, 'wx+', 0o640))
  const hash = createHash('sha256')
  let size = 0
  let ended = false
  let rescued: Buffer | null = null
  let resolve: (outcome: Outcome) => void
  let reject: (reason: unknown) => void
  const finished = new Promise<Outcome>((...settlers) => { [resolve, reject] = settlers })
  finished.catch(() => {}) // an aborted sink reports to nothing

  async function clear (): Promise<void> {
    await file.close()
    // A folder that is not writable keeps the draft until the next clean-up.
    await rm(path, { force: true }).catch(() => {})
  }

  async function readBack (): Promise<Buffer | null> {
    try {
      const bytes = Buffer.allocUnsafeSlow(size)
      const { bytesRead } = await file.read(bytes, 0, size, 0)
      return bytesRead === size ? bytes : null
    } catch {
      return null
    }
  }

  async function settle (): Promise<Outcome> {
    try {
      const draft = { path, source: fileSource(file, size), sha256: hash.digest('hex'), flush: () => file.sync() }
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
      await storing(() => file.writeFile(bytes))
      hash.update(bytes)
      size += bytes.length
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
export async function factsOf (path: string): Promise<Stats | null> {
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

/** Makes a rename in this folder survive a power cut. */
export async function flushFolder (folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
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
