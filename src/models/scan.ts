import { dirname, join, sep } from 'node:path'
import type { Redis } from 'ioredis'
import { messageOf } from '../lib/errors.ts'
import { objectOf } from '../lib/json-values.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import type { ModelFile } from '../model-facts/facts.ts'
import { loadScript } from '../redis/scripts.ts'
import type { FoundRecord, Hasher, ModelFileStore } from './file-store.ts'
import { type FolderLocks, isInside, type ModelFolder, realPathOf } from './folders.ts'
import { brokenReason, inspectAgain, inspectFile } from './inspect.ts'
import { folderNames, type FolderNames, type FoundFile, walkModels } from './walk.ts'

/** Progress of a scan, under the names of StableQueue's clients. */
export interface ScanStats {
  /** Model files found. */
  total: number
  added: number
  updated: number
  /** Unchanged. */
  skipped: number
  errors: number
  deleted: number
  hashesCalculated: number
  hashErrors: number
  /** Files whose hash is still to be computed. */
  hashesWaiting: number
}

interface ScanReport {
  readonly stats: ScanStats
  readonly phase: 'reading' | 'hashing'
  /** Skipped files, the first of many. */
  readonly problems: readonly string[]
  /** Files with a model's extension that are no models, the first of many. */
  readonly broken: readonly BrokenFile[]
  /** Sidecars that cannot be read, the first of many. */
  readonly unreadableSidecars: readonly BrokenFile[]
}

export interface BrokenFile {
  readonly path: string
  readonly reason: string
}

export interface ScannerDependencies {
  readonly folders: readonly ModelFolder[]
  readonly files: ModelFileStore
  readonly hasher: Hasher
  readonly locks: FolderLocks
  readonly log: Log
}

/**
 * Number of records that are written together and reported together, and the longest time between reports in
 * milliseconds.
 */
const batch = 250
const reportAfter = 1000
const maxProblems = 50

/**
 * Scans the model folders and records the files; it reads and hashes a file again only if its size, time or inode
 * changed.
 * @param writeReport receives progress about once a second
 * @throws AbortError for the signal; files found until then stay
 */
export async function scanModels (
  { folders, files, hasher, locks, log }: ScannerDependencies,
  writeReport: (report: ScanReport) => Promise<void>,
  signal: AbortSignal
): Promise<ScanReport> {
  const stats: ScanStats = {
    total: 0,
    added: 0,
    updated: 0,
    skipped: 0,
    errors: 0,
    deleted: 0,
    hashesCalculated: 0,
    hashErrors: 0,
    hashesWaiting: 0
  }
  const problems: string[] = []
  const broken: BrokenFile[] = []
  const unreadableSidecars: BrokenFile[] = []
  const note = (sentence: string) => { if (problems.length < maxProblems) problems.push(sentence) }
  const before = await files.all()
  const byPath = new Map(before.map(file => [file.absolutePath, file]))
  const byInode = new Map(before.map(file => [file.inode, file]))
  const met = new Set<string>()
  const unhashed: ModelFile[] = []
  const unreadable: string[] = []
  let waiting: FoundRecord[] = []
  let hashed: ModelFile[] = []
  let reportedAt = performance.now()

  async function write (phase: ScanReport['phase']): Promise<void> {
    await files.writeFound(waiting)
    await files.addHashes(hashed)
    waiting = []
    hashed = []
    reportedAt = performance.now()
    await writeReport(report(phase))
  }

  function report (phase: ScanReport['phase']): ScanReport {
    return {
      stats,
      phase,
      problems,
      broken: broken.slice(0, maxProblems),
      unreadableSidecars: unreadableSidecars.slice(0, maxProblems)
    }
  }

  async function writeNowAndThen (phase: ScanReport['phase']): Promise<void> {
    if (waiting.length + hashed.length >= batch || performance.now() - reportedAt > reportAfter) await write(phase)
  }

  const walk = walkModels(folders, {
    onSkipped (path, reason) { note(`${path}: ${reason}`) },
    onUnreadable (path) {
      unreadable.push(path)
      stats.errors++
      note(`${path} cannot be read`)
    }
  }, signal)
  const namesOf = rememberNames()
  for await (const found of walk) {
    signal.throwIfAborted()
    stats.total++
    try {
      const known = byPath.get(found.absolutePath)
      const isUnchanged = known?.modifiedAt === found.stats.mtimeMs && known.size === found.stats.size
      const reason = isUnchanged && known.size > 0 ? null : await brokenReason(found.absolutePath, found.stats.size)
      if (reason !== null) {
        stats.errors++
        broken.push({ path: found.absolutePath, reason })
        note(`${found.absolutePath}: ${reason}`)
        continue
      }
      met.add(found.absolutePath)
      // a renamed file keeps its hash
      const former = known ?? byInode.get(`${found.stats.dev}:${found.stats.ino}`)
      const file = await inspectFile(found, namesOf(found), former)
      for (const { name, reason } of file.unreadable ?? []) {
        const path = join(dirname(file.absolutePath), name)
        unreadableSidecars.push({ path, reason })
        note(`${path} ${reason}`)
      }
      if (file.sha256 === null) unhashed.push(file)
      if (file === known) stats.skipped++
      else {
        if (known === undefined) stats.added++
        else stats.updated++
        waiting.push({ file, before: known })
        await writeNowAndThen('reading')
      }
    } catch (error) {
      // a file that is unreadable now was not lost
      met.add(found.absolutePath)
      stats.errors++
      note(`${found.absolutePath}: ${messageOf(error)}`)
    }
  }
  signal.throwIfAborted()
  // A disk that is not mounted now has not lost its models.
  const hidden = await Promise.all(unreadable.map(async path => await realPathOf(path) ?? path))
  const isHidden = (path: string) => hidden.some(folder => isInside(path, folder) || path.startsWith(folder + sep))
  const gone = before.filter(({ absolutePath }) => !met.has(absolutePath) && !isHidden(absolutePath))
  await files.forget(gone.map(({ absolutePath }) => absolutePath))
  stats.deleted = gone.length

  stats.hashesWaiting = unhashed.length
  // The first file may take minutes.
  await write('hashing')
  for (const file of unhashed.sort((one, other) => one.size - other.size)) {
    try {
      const { sha256, autoV3, size, modifiedAt } = await hasher.hash(file.absolutePath, signal)
      if (size !== file.size || modifiedAt !== file.modifiedAt) throw new Error('the file changed after it was found')
      stats.hashesCalculated++
      const known = { ...file, sha256, autoV3: file.type === 'lora' ? autoV3 : null }
      if (file.awaitsHash === true) {
        await locks.take([dirname(file.absolutePath)], async () => { await files.write([await inspectAgain(known)]) })
      } else {
        hashed.push(known)
      }
      await writeNowAndThen('hashing')
    } catch (error) {
      if (signal.aborted) {
        await write('hashing')
        throw error
      }
      stats.hashErrors++
      note(`${file.absolutePath}: ${messageOf(error)}`)
    }
    stats.hashesWaiting--
  }
  await write('hashing')
  log.info({ ...stats }, 'scanned the model folders')
  return report('hashing')
}

/** The content of a folder, sorted once for all its models. */
function rememberNames (): (found: FoundFile) => FolderNames {
  let known: readonly string[] | null = null
  let names = folderNames([])
  return ({ neighbours }) => {
    if (known !== neighbours) {
      known = neighbours
      names = folderNames(neighbours)
    }
    return names
  }
}

/** State of the last scan, for every process. Times are in milliseconds since the epoch. */
export interface ScanStatus {
  readonly state: 'never' | 'waiting' | 'running' | 'completed' | 'stopped' | 'failed'
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly report: ScanReport | null
  readonly problem: string | null
}

export interface ScanStatusStore {
  read (): Promise<ScanStatus>
  write (status: ScanStatus): Promise<void>
  /** Asks the process that scans to stop. */
  requestStop (): Promise<void>
  /** Whether a stop was requested; reading it removes the request. */
  takeStop (): Promise<boolean>
}

const writeStatus = loadScript<[prefix: string], [status: string, data: string, endedAt: number | ''], null>(
  new URL('scripts/write-scan-status.lua', import.meta.url))

const never: ScanStatus = { state: 'never', startedAt: null, endedAt: null, report: null, problem: null }

export function createScanStatusStore (redis: Redis, keys: Keys): ScanStatusStore {
  const statusKey = keys.key('model-scan')
  const stopKey = keys.key('model-scan', 'stop')
  return {
    async read () {
      const text = await redis.get(statusKey)
      return text === null ? never : objectOf(JSON.parse(text)) as unknown as ScanStatus
    },
    async write (status) {
      const { state, endedAt, report } = status
      const text = JSON.stringify({ state, ...report?.stats })
      await writeStatus(redis, [keys.key('')], [JSON.stringify(status), text, endedAt ?? ''])
    },
    async requestStop () { await redis.set(stopKey, '1', 'EX', 60) },
    takeStop: async () => await redis.del(stopKey) === 1
  }
}
