import { createHash, randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Config } from '../config/settings.ts'
import { messageOf } from '../lib/errors.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import { type Bucket, openBucket } from '../media/bucket.ts'
import { failureSentence, tryBucket } from '../media/bucket-check.ts'
import { flushFolder, hasCode } from '../media/file-sink.ts'
import { bucketHome, folderHome, type MediaHome } from '../media/home.ts'
import { outputFormats } from '../media/output-formats.ts'
import { draftFolderOf } from '../media/storage.ts'

export interface MediaCopyOptions {
  readonly to: 's3' | 'folder'
  /** Whether files of the right size are read and compared, too. */
  readonly verify: boolean
  /** Takes lines of progress, and the summary. */
  readonly print: (line: string) => void
  readonly cancelled: AbortSignal
}

interface Counts {
  copied: number
  bytes: number
  /** Files that were there before. */
  present: number
  failed: number
}

/** One side: media by name, such as `outputs/….png`. */
interface Side {
  readonly shown: string
  readonly home: MediaHome
  list (): AsyncIterable<{ readonly name: string, readonly bytes: number }>
  /** Lowercase hexadecimal; null if the file is gone. */
  hash (name: string): Promise<string | null>
  /** Takes a file of the other side. @returns false if it is gone there */
  take (name: string, bytes: number): Promise<boolean>
}

/** Thumbnails are left out: they are made again when they are needed. */
const folders = ['media/inputs', 'outputs'] as const
const atOnce = 8
/** Between two lines of progress, in milliseconds. */
const progressInterval = 5000
const mimes = new Map<string, string>(Object.values(outputFormats).map(({ mime, extension }) => [extension, mime]))

/**
 * Copies all inputs and outputs between DATA_DIR and the bucket of MEDIA_URL, and continues where a former run ended.
 * After a complete copy, the target is marked as the successor of the source: a process that starts with it is
 * accepted, and one that starts with the source no longer.
 * @returns the exit code: 0 if all files are there, else 1
 */
export async function copyMedia (
  config: Config, { to, verify, print, cancelled }: MediaCopyOptions
): Promise<0 | 1> {
  const bucket = openBucket(config)
  try {
    const failure = await tryBucket(bucket)
    if (failure !== null) {
      print(`${failureSentence(bucket, failure)} ${failure.error.remedy ?? 'Try again later.'}`)
      return 1
    }
    const folder = config.DATA_DIR
    const [source, target] = to === 's3'
      ? [folderSide(folder, bucket), bucketSide(folder, bucket)]
      : [bucketSide(folder, bucket), folderSide(folder, bucket)]
    const objection = await objectionTo(source.home, target.home)
    if (objection !== null) {
      print(objection)
      return 1
    }
    print(`Copying from ${source.shown} to ${target.shown}`)
    const counts = await copyAll(source, target, { verify, print, cancelled })
    return await conclude(counts, { source, target, to, print, cancelled })
  } finally {
    await bucket.close()
  }
}

async function conclude (
  { copied, bytes, present, failed }: Counts,
  { source, target, to, print, cancelled }:
  Pick<MediaCopyOptions, 'to' | 'print' | 'cancelled'> & { readonly source: Side, readonly target: Side }
): Promise<0 | 1> {
  print(`${copied} files copied (${inMebibytes(bytes)} MiB), ${present} were there, ${failed} failed.`)
  if (failed > 0 || cancelled.aborted) {
    print('The copy is not complete. Run the command again: it continues with the missing files.')
    return 1
  }
  await markSuccessor(source.home, target.home)
  print(to === 's3'
    ? 'All files are in the bucket. Start all processes with MEDIA_URL now. If a process stored files in the folder during ' +
      'the copy, stop it and run the command once more before.'
    : 'All files are in the folder. Start all processes without MEDIA_URL now. If a process stored files in the bucket during ' +
      'the copy, stop it and run the command once more before.')
  return 0
}

async function copyAll (
  source: Side, target: Side, { verify, print, cancelled }: Pick<MediaCopyOptions, 'verify' | 'print' | 'cancelled'>
): Promise<Counts> {
  const counts: Counts = { copied: 0, bytes: 0, present: 0, failed: 0 }
  const known = new Map<string, number>()
  for await (const { name, bytes } of target.list()) known.set(name, bytes)
  const places = createSemaphore(atOnce)
  const running = new Set<Promise<void>>()
  const timer = setInterval(() => {
    print(`… ${counts.copied} files copied (${inMebibytes(counts.bytes)} MiB), ${counts.present} were there`)
  }, progressInterval)

  async function copy (name: string, bytes: number): Promise<void> {
    try {
      const isThere = known.get(name) === bytes && (!verify || await source.hash(name) === await target.hash(name))
      if (isThere) counts.present++
      else if (await target.take(name, bytes)) {
        counts.copied++
        counts.bytes += bytes
      }
    } catch (error) {
      counts.failed++
      print(`${name}: ${messageOf(error)}`)
    }
  }

  try {
    for await (const { name, bytes } of source.list()) {
      // Without a bucket every file would fail, one after the other.
      if (cancelled.aborted || counts.failed >= atOnce) break
      const one: Promise<void> = places.run(async () => { await copy(name, bytes) })
      running.add(one)
      one.finally(() => { running.delete(one) })
      if (running.size >= 2 * atOnce) await Promise.race(running)
    }
    await Promise.all(running)
  } finally {
    clearInterval(timer)
  }
  return counts
}

/** Why the target must not get these files: it belongs to other data. */
async function objectionTo (source: MediaHome, target: MediaHome): Promise<string | null> {
  const [from, mark] = await Promise.all([source.readMark(), target.readMark()])
  if (mark === null) return null
  const known = from === null ? [] : [from.id, ...from.after]
  if (known.includes(mark.id) || (from !== null && mark.after.includes(from.id))) return null
  return `${target.shown}, which has media of another installation. Use an empty ${target.kind}, or remove ` +
    'data-id from it if the files of both belong together.'
}

/** A mark of its own says which place is the later one. */
async function markSuccessor (source: MediaHome, target: MediaHome): Promise<void> {
  const from = await source.markOnce({ id: randomUUID(), after: [] })
  const mark = await target.readMark()
  if (mark?.after.includes(from.id) === true) return
  await target.replaceMark({ id: randomUUID(), after: [from.id, ...from.after] })
}

function folderSide (folder: string, bucket: Bucket): Side {
  const pathOf = (name: string) => join(folder, name)

  async function * filesOf (start: string): AsyncGenerator<{ name: string, bytes: number }> {
    const entries = await readdir(pathOf(start), { withFileTypes: true }).catch(error => {
      if (hasCode(error, 'ENOENT')) return []
      throw error
    })
    for (const entry of entries) {
      const name = `${start}/${entry.name}`
      if (entry.isDirectory() && /^[0-9a-f]{2}$/.test(entry.name)) yield * filesOf(name)
      const facts = entry.isFile() && isMedia(name) ? await stat(pathOf(name)).catch(() => null) : null
      // An empty file only reserves a name.
      if (facts !== null && facts.size > 0) yield { name, bytes: facts.size }
    }
  }

  return {
    shown: folder,
    home: folderHome(folder),
    async * list () { for (const start of folders) yield * filesOf(start) },
    hash: async name => await hashOf(pathOf(name)),
    async take (name, bytes) {
      const facts = await bucket.facts(name)
      const content = facts === null ? null : await bucket.read(name, undefined, facts.tag)
      if (facts === null || content === null) return false
      const start = folders.find(each => name.startsWith(`${each}/`)) ?? ''
      const drafts = draftFolderOf(pathOf(start))
      const draft = join(drafts, randomUUID())
      const hash = createHash('sha256')
      let received = 0
      await mkdir(drafts, { recursive: true, mode: 0o750 })
      await mkdir(dirname(pathOf(name)), { recursive: true, mode: 0o750 })
      try {
        await pipeline(content, new Transform({
          transform (chunk: Buffer, _encoding, give) {
            received += chunk.length
            hash.update(chunk)
            give(null, chunk)
          }
        }), createWriteStream(draft, { mode: 0o640 }))
        if (received !== facts.bytes) throw new Error(`${received} bytes arrived instead of ${facts.bytes}`)
        const sha256 = hash.digest('hex')
        if (facts.sha256 !== null && facts.sha256 !== sha256) throw new Error('its content is not the one that was stored')
        await flush(draft)
        await rename(draft, pathOf(name))
        await flushFolder(dirname(pathOf(name)))
      } finally {
        await rm(draft, { force: true })
      }
      return bytes > 0
    }
  }
}

function bucketSide (folder: string, bucket: Bucket): Side {
  return {
    shown: bucket.shown,
    home: bucketHome(bucket),
    async * list () {
      for (const start of folders) {
        for await (const { key, bytes } of bucket.list(`${start}/`)) if (isMedia(key)) yield { name: key, bytes }
      }
    },
    async hash (name) {
      const content = await bucket.read(name)
      if (content === null) return null
      const hash = createHash('sha256')
      for await (const chunk of content as AsyncIterable<Buffer>) hash.update(chunk)
      return hash.digest('hex')
    },
    async take (name, bytes) {
      const path = join(folder, name)
      const sha256 = await hashOf(path)
      if (sha256 === null) return false
      const mime = mimes.get(name.slice(name.lastIndexOf('.') + 1)) ?? 'application/json'
      // The bucket compares the content with the hash.
      await bucket.put(name, { path, size: bytes, sha256 }, mime, 'any')
      const facts = await bucket.facts(name)
      if (facts?.bytes !== bytes || facts.sha256 !== sha256) throw new Error('the bucket has it otherwise than it was sent')
      return true
    }
  }
}

/** Inputs, outputs, and the mark of the last sweep, by their names; no drafts or files of others. */
function isMedia (name: string): boolean {
  const extension = name.slice(name.lastIndexOf('.') + 1)
  return name === 'outputs/.sweep.json' || (!/\/\./.test(name) && mimes.has(extension))
}

async function hashOf (path: string): Promise<string | null> {
  const hash = createHash('sha256')
  try {
    for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) hash.update(chunk)
    return hash.digest('hex')
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return null
    throw error
  }
}

async function flush (path: string): Promise<void> {
  const file = await open(path, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

function inMebibytes (bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1)
}
