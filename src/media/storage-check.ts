import { randomUUID } from 'node:crypto'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../log.ts'
import { faultOf, storageFaultOf, type StorageFault } from './storage-faults.ts'

/** Whether files can be kept under DATA_DIR: looked at before anything is made that would have to be. */
export interface StorageCheck {
  /** Null while they can. Looks where the last look is old. */
  fault (): Promise<StorageFault | null>
  /** What was found last. */
  last (): StorageFault | null
  /** The same, without what only other processes have found. */
  lastOwn (): StorageFault | null
  /** Looks again and again until the returned function is called. */
  keepLooking (): () => void
  /** A file could not be kept, whatever a look finds. Holds for a while, and longer each time before `proved`. */
  report (fault: StorageFault): void
  /** A file was kept. */
  proved (): void
  /** Resolves when files can be kept, or the signal is aborted. */
  untilUsable (signal: AbortSignal): Promise<void>
  /** Bytes that may still be written, by folder; a folder that cannot be asked is left out. */
  freeBytes (): Promise<ReadonlyArray<{ readonly folder: string, readonly bytes: number }>>
  /** Returns what ends it. */
  onChange (listener: (fault: StorageFault | null) => void): () => void
  close (): void
}

export interface StorageCheckDependencies {
  /** Folders that files are kept in, by the name that metrics know them by. Each may be a disk of its own. */
  readonly folders: Readonly<Record<string, string>>
  /** Less than this counts as full, in bytes; on a small disk a twentieth of it is enough. */
  readonly leastFree: number
  /** How long a look is trusted, and how often one is taken while something is wrong, in milliseconds. */
  readonly interval: number
  /** What other processes that use the same folders have found; null for nothing. */
  readonly others?: () => Promise<StorageFault | null>
  readonly log: Log
}

/** What failed in earnest holds no longer than this, in milliseconds. */
const longestHold = 30_000
/** Written as a trial: more than what file systems keep beside a file's name. */
const trial = Buffer.alloc(16 * 1024)
/** Part of a disk that is enough where that is less than the setting says. */
const leastShare = 0.05

export function createStorageCheck (dependencies: StorageCheckDependencies): StorageCheck {
  const { folders, leastFree, interval, others, log } = dependencies
  const listeners = new Set<(fault: StorageFault | null) => void>()
  let state: StorageFault | null = null
  let ownState: StorageFault | null = null
  let lookedAt = -Infinity
  let looking: Promise<StorageFault | null> | null = null
  let heldUntil = -Infinity
  let reports = 0
  let watchers = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function enter (fault: StorageFault | null): StorageFault | null {
    const changed = (fault === null) !== (state === null)
    state = fault
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

  async function findFault (): Promise<StorageFault | null> {
    for (const folder of Object.values(folders)) {
      const fault = await faultIn(folder, leastFree)
      if (fault !== null) return fault
    }
    return null
  }

  async function lookNow (): Promise<StorageFault | null> {
    const [found, foreign] = await Promise.all([findFault(), others?.().catch(() => null) ?? null])
    lookedAt = performance.now()
    // What failed in earnest holds for a while, although a trial goes well.
    ownState = found ?? (lookedAt < heldUntil ? ownState : null)
    return enter(ownState ?? foreign)
  }

  function look (): Promise<StorageFault | null> {
    looking ??= lookNow().finally(() => { looking = null })
    return looking
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
      // The signal may have fired during the look, and an abort that is over calls no listener.
      while (await fault() !== null && !signal.aborted) {
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

/** Where drafts of the files of a folder lie. */
export function draftFolderOf (folder: string): string {
  return join(folder, '.drafts')
}

/** Why no file can be kept in a folder: no room, or a trial that fails. */
async function faultIn (folder: string, leastFree: number): Promise<StorageFault | null> {
  const drafts = draftFolderOf(folder)
  const path = join(drafts, `check-${randomUUID()}`)
  try {
    const { bavail, blocks, bsize, files, ffree } = await statfs(folder)
    if (bavail * bsize < Math.min(leastFree, blocks * bsize * leastShare)) {
      return { ...faultOf('ENOSPC', folder), reason: `only ${Math.floor(bavail * bsize / 2 ** 20)} MiB of the disk are free` }
    }
    if (files > 0 && ffree === 0) return { ...faultOf('ENOSPC', folder), reason: 'the disk has no room for another file (inodes)' }
    await writeTrial(path).catch(async error => {
      // The folder of drafts alone may be lost; what is above it is not ours to make again.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      // Another process may make it at the same time; a file in its place shows with the trial.
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
    await rm(path, { force: true })
  }
}
