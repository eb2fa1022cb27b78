import { randomUUID } from 'node:crypto'
import { mkdir, open, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { withDeadline } from '../lib/deadline.ts'
import type { Log } from '../lib/logging.ts'
import { faultOf, type StorageFault, storageFaultOf } from './storage-fault.ts'

/** Whether files can be stored: checked before any work whose result must be stored. */
export interface StorageCheck {
  /** Null while they can. Checks again if the last check is old. */
  fault (): Promise<StorageFault | null>
  /** Result of the last check. */
  last (): StorageFault | null
  /** The same, without faults that only other processes found. */
  lastOwn (): StorageFault | null
  /** Repeats the check until the returned function is called. */
  keepLooking (): () => void
  /** A file could not be stored, whatever a check finds. Holds for a while, and longer each time before `proved`. */
  report (fault: StorageFault): void
  /** A file was stored. */
  proved (): void
  /** Resolves when files can be stored, or the signal is aborted. */
  untilUsable (signal: AbortSignal): Promise<void>
  /**
   * Whether this process should run jobs: its fault has not lasted, or is over for a while. `others` fail: it looks for
   * itself first, as their fault can be its own too.
   */
  isFit (others: 'fit' | 'failing'): Promise<boolean>
  /** The result of the last `isFit` of this kind, without a new look. */
  hasLasted (): boolean
  /** Free bytes by folder; a folder that does not answer is left out. */
  freeBytes (): Promise<ReadonlyArray<{ readonly folder: string, readonly bytes: number }>>
  /** Returns what ends it. */
  onChange (listener: (fault: StorageFault | null) => void): () => void
  close (): void
}

export interface StorageCheckDependencies {
  /** Folders of stored files, by their names in metrics. Each can be a disk of its own. */
  readonly folders: Readonly<Record<string, string>>
  /** Finds why the bucket of MEDIA_URL cannot be used; absent without one. `isTroubled`: something failed before. */
  readonly bucket?: (isTroubled: boolean) => Promise<StorageFault | null>
  /** Less than this counts as full, in bytes; on a small disk a twentieth of it is enough. */
  readonly minFree: number
  /** How long a check is trusted, and how often it repeats during a fault, in milliseconds. */
  readonly interval: number
  /** Faults that other processes with the same folders found; null for none. */
  readonly others?: () => Promise<StorageFault | null>
  readonly log: Log
  /** Finds why no file can be stored in a folder. */
  readonly tryIn?: (folder: string, minFree: number) => Promise<StorageFault | null>
  /** After so many milliseconds a folder hangs. */
  readonly patience?: number
}

/** After so many intervals a fault has lasted, and after so many without one it is over. */
const intervalsUntil = { unfit: 10, fit: 60 }
/** A disk or network drive that answers no call for so long hangs, in milliseconds. */
const usualPatience = 5000
/** A real failure holds no longer than this, in milliseconds. */
const longestHold = 30_000
/** Written as a trial: more than file systems store beside a file's name. */
const trial = Buffer.alloc(16 * 1024)
/** Part of a disk that is enough if it is less than the setting. */
const minShare = 0.05

export function createStorageCheck (dependencies: StorageCheckDependencies): StorageCheck {
  const { folders, bucket, minFree, interval, others, log, tryIn = faultIn, patience = usualPatience } = dependencies
  const trials = new Map<string, Promise<StorageFault | null>>()
  const listeners = new Set<(fault: StorageFault | null) => void>()
  let state: StorageFault | null = null
  let ownState: StorageFault | null = null
  let changedAt = performance.now()
  let lasts = false
  let lookedAt = -Infinity
  let provedAt = -Infinity
  let looking: Promise<StorageFault | null> | null = null
  let heldUntil = -Infinity
  let reports = 0
  let watchers = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function enter (fault: StorageFault | null): StorageFault | null {
    const changed = (fault === null) !== (state === null)
    state = fault
    if (changed) changedAt = performance.now()
    if (changed && fault !== null) {
      log.error({ errno: fault.errno, path: fault.path, reason: fault.reason },
        'files cannot be kept; nothing is generated or accepted until they can')
    } else if (changed) log.info('files can be kept again')
    if (changed) for (const listener of listeners) listener(fault)
    schedule()
    return fault
  }

  function schedule (): void {
    if (closed || timer !== undefined || (state === null && watchers === 0)) return
    timer = setTimeout(() => {
      timer = undefined
      look().catch(() => undefined).finally(schedule)
    }, interval)
    timer.unref()
  }

  /** The calls of a drive that hangs do not end: no second one follows, as each keeps a thread. */
  async function tryFolder (folder: string): Promise<StorageFault | null> {
    const trial = trials.get(folder) ?? tryIn(folder, minFree).finally(() => { trials.delete(folder) })
    trials.set(folder, trial)
    return await withDeadline(patience, [], async late => await Promise.race([
      trial,
      new Promise<StorageFault>(resolve => {
        late.addEventListener('abort', () => { resolve(faultOf('ETIMEDOUT', folder)) }, { once: true })
      })
    ]))
  }

  async function findFault (isWhole: boolean): Promise<StorageFault | null> {
    // At once: a submission to an idle server waits for all of them.
    const faults = await Promise.all(Object.values(folders).map(tryFolder))
    return faults.find(fault => fault !== null) ?? await bucket?.(isWhole) ?? null
  }

  async function lookNow (isWhole: boolean): Promise<StorageFault | null> {
    const [found, foreign] = await Promise.all([findFault(isWhole), others?.().catch(() => null) ?? null])
    lookedAt = performance.now()
    // A real failure holds for a while, although a trial succeeds.
    ownState = found ?? (lookedAt < heldUntil ? ownState : null)
    return enter(ownState ?? foreign)
  }

  function look (isWhole = state !== null): Promise<StorageFault | null> {
    looking ??= lookNow(isWhole).finally(() => { looking = null })
    return looking
  }

  function hasLasted (): boolean {
    const intervals = (performance.now() - changedAt) / interval
    if (intervals > (lasts ? intervalsUntil.fit : intervalsUntil.unfit)) lasts = state !== null
    return lasts
  }

  async function fault (): Promise<StorageFault | null> {
    return performance.now() - lookedAt < interval ? state : await look()
  }

  return {
    fault,
    last: () => state,
    lastOwn: () => ownState,
    keepLooking () {
      watchers++
      schedule()
      let over = false
      return () => {
        if (!over) watchers--
        over = true
      }
    },
    report (reported) {
      heldUntil = performance.now() + Math.min(interval * 2 ** reports, longestHold)
      reports++
      ownState = reported
      enter(reported)
    },
    proved () { reports = 0 },
    async untilUsable (signal) {
      for (;;) {
        await fault()
        // Another check, or the signal, can have ended the fault meanwhile: neither calls a listener that comes later.
        if (state === null || signal.aborted) return
        await new Promise<void>(resolve => {
          const go = () => {
            listeners.delete(go)
            signal.removeEventListener('abort', go)
            resolve()
          }
          listeners.add(go)
          signal.addEventListener('abort', go, { once: true })
        })
      }
    },
    async isFit (others) {
      if (hasLasted()) return false
      if (others === 'fit') return true
      if (state === null && performance.now() - provedAt < intervalsUntil.unfit * interval) return true
      if (await look(true) !== null) return false
      provedAt = performance.now()
      return true
    },
    hasLasted,
    async freeBytes () {
      const found = await Promise.all(Object.entries(folders).map(async ([folder, path]) =>
        await statfs(path).then(({ bavail, bsize }) => [{ folder, bytes: bavail * bsize }], () => [])))
      return found.flat()
    },
    onChange (listener) {
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}

/** Folder for drafts of a folder's files. */
export function draftFolderOf (folder: string): string {
  return join(folder, '.drafts')
}

/** Why no file can be stored in a folder: no space, or a trial that fails. */
async function faultIn (folder: string, minFree: number): Promise<StorageFault | null> {
  const drafts = draftFolderOf(folder)
  const path = join(drafts, `check-${randomUUID()}`)
  try {
    const { bavail, blocks, bsize, files, ffree } = await statfs(folder)
    if (bavail * bsize < Math.min(minFree, blocks * bsize * minShare)) {
      return { ...faultOf('ENOSPC', folder), reason: `only ${Math.floor(bavail * bsize / 2 ** 20)} MiB of the disk are free` }
    }
    if (files > 0 && ffree === 0) return { ...faultOf('ENOSPC', folder), reason: 'the disk has no room for another file (inodes)' }
    await writeTrial(path).catch(async error => {
      // Only the folder of drafts is ours to create again; the one above it is not.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      // Another process can create it at the same time; a file in its place shows with the trial.
      await mkdir(drafts, { mode: 0o750 }).catch((fault: NodeJS.ErrnoException) => {
        if (fault.code !== 'EEXIST') throw fault
      })
      await writeTrial(path)
    })
    return null
  } catch (error) {
    const fault = storageFaultOf(error) ?? faultOf(String((error as NodeJS.ErrnoException).code ?? 'unknown'), path)
    return { ...fault, path: fault.path === '' ? folder : fault.path }
  }
}

async function writeTrial (path: string): Promise<void> {
  const file = await open(path, 'wx', 0o640)
  try {
    await file.writeFile(trial)
  } finally {
    await file.close()
    await unlink(path)
  }
}
