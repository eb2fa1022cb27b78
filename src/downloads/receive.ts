import { constants } from 'node:fs'
import { link, lstat, open, rename, rm, stat, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { flushFolder, hasCode } from '../media/file-sink.ts'
import type { Hasher } from '../models/hasher.ts'
import type { Download } from './download.ts'
import { FinalFailure } from './final-failure.ts'
import type { OpenSource } from './open-source.ts'

/** What comes beside the file must fit too, in bytes. */
const spareSpace = 1024 ** 3

export interface Reception {
  readonly download: Download
  /** Real path. */
  readonly folder: string
  readonly hasher: Hasher
  /** Asks the source for all behind these bytes. */
  readonly openFrom: (bytes: number) => Promise<OpenSource>
  readonly tell: (received: number, size: number | null) => Promise<void>
  /** Throws where nobody wants the file any more. */
  readonly confirm: () => Promise<void>
  readonly signal: AbortSignal
}

/** The file while it is not whole yet; stays after a break, so that the next attempt goes on there. */
export function partOf ({ id, round, filename }: Download, folder: string): string {
  return join(folder, `${filename}.${id.slice(0, 8)}${round > 0 ? `-${round}` : ''}.part`)
}

/**
 * Brings a file in, going on where an earlier attempt broke off; it gets its name only when size and hash are right.
 * @returns real path and SHA-256 of the file
 * @throws FinalFailure for what another attempt cannot mend
 */
export async function receiveFile (
  reception: Reception
): Promise<{ path: string, sha256: string, autoV3: string | null }> {
  const { download, folder, hasher, signal } = reception
  const part = partOf(download, folder)
  const path = join(folder, download.filename)
  if (await lstat(path).catch(() => null) !== null) {
    throw new FinalFailure(`there is a file ${download.filename} already`)
  }
  const told = await receivePart(part, reception)
  const wanted = download.sha256 ?? told
  const { sha256, autoV3 } = await hasher.hash(part, signal)
  if (wanted !== null && sha256 !== wanted) {
    await rm(part, { force: true })
    throw new FinalFailure(`its SHA-256 is ${sha256}, but should be ${wanted}; nothing of it was kept`)
  }
  await reception.confirm()
  await giveName(part, path)
  await flushFolder(folder)
  return { path, sha256, autoV3 }
}

/** Gives the SHA-256 that the source told, if it did. */
async function receivePart (part: string, { folder, openFrom, tell, signal }: Reception): Promise<string | null> {
  const present = (await stat(part).catch(() => null))?.size ?? 0
  const source = await openFrom(present)
  try {
    const { statusCode, headers } = source.answer
    // whole already, or another file by now: the hash tells
    if (statusCode === 416) return source.sha256
    if (statusCode !== 200 && statusCode !== 206) throw refusal(statusCode)
    const continued = statusCode === 206 && headers['content-range']?.startsWith(`bytes ${present}-`) === true
    if (statusCode === 206 && !continued) throw new Error('it sent another part than was asked for')
    const begin = continued ? present : 0
    const length = Number(headers['content-length'])
    const size = Number.isSafeInteger(length) && headers['content-length'] !== undefined ? begin + length : null
    const { bavail, bsize } = await statfs(folder)
    if (bavail * bsize < (size ?? 0) - begin + spareSpace) throw new FinalFailure('there is not enough free space')
    const file = await open(part, constants.O_WRONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o644)
    try {
      await file.truncate(begin)
      let received = begin
      for await (const chunk of source.answer.body) {
        signal.throwIfAborted()
        await file.write(chunk, 0, chunk.length, received)
        received += chunk.length
        await tell(received, size)
      }
      if (size !== null && received !== size) throw new Error(`it broke off after ${received} of ${size} bytes`)
      await file.sync()
    } finally {
      await file.close()
    }
    return source.sha256
  } finally {
    source.answer.body.destroy()
  }
}

function refusal (status: number): Error {
  const sentence = `the source answered ${status}`
  if (status === 401 || status === 403) return new FinalFailure(`${sentence}: it wants a key that may read this`)
  return status >= 500 || status === 429 || status === 408 ? new Error(sentence) : new FinalFailure(sentence)
}

/** Never over another file. */
async function giveName (part: string, path: string): Promise<void> {
  try {
    await link(part, path)
    await unlink(part)
  } catch (error) {
    if (hasCode(error, 'EEXIST')) throw new FinalFailure('there is a file of that name by now')
    // a file system without hard links
    if (!hasCode(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'EMLINK')) throw error
    await rename(part, path)
  }
}
