import { randomUUID } from 'node:crypto'
import { mkdir, open, rm, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { withDeadline } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'

/** Why nothing can be stored under DATA_DIR now: a fault of the machine, not of a job or client. */
export interface StorageFault {
  /** Of the system call, such as `ENOSPC`, or the code of a bucket's answer, such as `SlowDown`. */
  readonly errno: string
  /** File, folder or object of the failure; for logs, never for clients. */
  readonly path: string
  /** In plain words. */
  readonly reason: string
}

const reasons: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota is used up',
  EFBIG: 'the file would exceed the size limit',
  EROFS: 'the file system is read-only',
  EACCES: 'the service has no permission',
  EPERM: 'the service has no permission',
  ENOENT: 'a folder is missing',
  ENOTDIR: 'there is a file in the place of a folder',
  EEXIST: 'there is a file in the place of a folder',
  EISDIR: 'there is a folder in the place of a file',
  ELOOP: 'a link leads nowhere',
  EIO: 'the disk fails',
  ENXIO: 'the disk is missing',
  ENODEV: 'the disk is missing',
  ESTALE: 'the network drive is missing',
  ENOTCONN: 'the network drive is missing',
  ETIMEDOUT: 'the network drive does not answer',
  EMFILE: 'the process has reached its limit of open files and connections (ulimit -n)',
  ENFILE: 'the machine has reached its limit of open files',
  ENOMEM: 'the machine has no memory left',
  EBUSY: 'the disk is busy'
}

/** Wrong paths cause these too: they are the machine's fault only if a file was to be stored. */
const ambiguous = new Set(['ENOENT', 'ENOTDIR', 'EEXIST', 'EISDIR', 'ELOOP'])

/** System calls of sockets, whose failures say nothing about a disk. */
const socketCalls = new Set(['connect', 'accept', 'bind', 'listen', 'getaddrinfo', 'socket', 'shutdown', 'spawn'])

/** A bucket cannot be used. */
export class BucketError extends Error {
  override readonly name = 'BucketError'
  readonly fault: StorageFault
  /** How operators mend it, if waiting does not; otherwise null. */
  readonly remedy: string | null

  constructor (fault: StorageFault, remedy: string | null, cause?: unknown) {
    super(`${fault.reason} (${fault.errno}).`, { cause })
    this.fault = fault
    this.remedy = remedy
  }
}

/** The fault behind an error of a bucket, or of a system call on files; null for every other error. */
export function storageFaultOf (error: unknown): StorageFault | null {
  if (error instanceof BucketError) return error.fault
  if (error instanceof ServiceError) return error.code === 'storage_full' ? storageFaultOf(error.cause) : null
  if (!(error instanceof Error)) return null
  const { code, syscall, path } = error as NodeJS.ErrnoException
  if (typeof code !== 'string' || typeof syscall !== 'string' || socketCalls.has(syscall)) return null
  if (reasons[code] === undefined) return null
  return faultOf(code, path ?? '')
}

/** The same, for files that are not our own. */
export function machineFaultOf (error: unknown): StorageFault | null {
  const fault = storageFaultOf(error)
  return fault === null || ambiguous.has(fault.errno) ? null : fault
}

function faultOf (errno: string, path: string): StorageFault {
  return { errno, path, reason: reasons[errno] ?? `a system call failed (${errno})` }
}

/** The error for clients. */
export function storageError (fault: StorageFault, cause?: unknown): ServiceError {
  return new ServiceError('storage_full', `Files cannot be kept or read just now: ${fault.reason} (${fault.errno}). ` +
    'Jobs wait until that is mended; try again later.', { reason: fault.errno, retry_after: storageRetrySeconds }, { cause })
}

const storageRetrySeconds = 30

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
    for (const folder of Object.values(folders)) {
      const fault = await tryFolder(folder)
      if (fault !== null) return fault
    }
    return await bucket?.(isWhole) ?? null
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
    await rm(path, { force: true })
  }
}

/** How long other processes trust a reported fault, and how often it is reported, in milliseconds. */
const lifetime = 5000
const interval = 1000
/** Faults of one process or machine alone, without meaning for others. */
const privateErrors = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

export interface FaultSharing {
  readonly redis: Redis
  readonly keys: Keys
  /** Names this process. */
  readonly processId: string
  /** Null if all processes share DATA_DIR. */
  readonly bucket: object | null
}

/** Of the system or the network; codes of buckets, such as `AccessDenied`, have small letters. */
const isOwn = (errno: string) => /^[A-Z0-9_]+$/.test(errno)

interface SharedFault extends Pick<StorageFault, 'errno' | 'reason'> {
  readonly by: string
}

/**
 * Reports this process's faults to the other processes while they last. All share DATA_DIR or a bucket, but the others
 * cannot see a fault that shows only when this one stores an image, such as a quota.
 */
export function shareStorageFaults (
  { redis, keys, processId, bucket }: FaultSharing, storage: Pick<StorageCheck, 'last' | 'lastOwn' | 'onChange'>
): { close (): void } {
  const key = keys.key('storage-fault')
  let warned = false
  let timer: NodeJS.Timeout | undefined

  async function check (): Promise<void> {
    const fault = storage.lastOwn()
    if (fault !== null && !(bucket === null ? privateErrors.has(fault.errno) : isOwn(fault.errno))) {
      const shared: SharedFault = { errno: fault.errno, reason: fault.reason, by: processId }
      warned = true
      await redis.set(key, JSON.stringify(shared), 'PX', lifetime)
    } else if (warned) {
      warned = false
      await redis.del(key)
    }
  }

  // Without Redis no warning is possible, and Redis is the more urgent fault.
  const checkQuietly = () => {
    clearTimeout(timer)
    if (storage.last() !== null) timer = setTimeout(checkQuietly, interval)
    check().catch(() => undefined)
  }
  const forget = storage.onChange(checkQuietly)
  checkQuietly()
  return {
    close () {
      clearTimeout(timer)
      forget()
    }
  }
}

/** A recent fault of another process; null for none. */
export async function readSharedFault ({ redis, keys, processId }: FaultSharing): Promise<StorageFault | null> {
  const text = await redis.get(keys.key('storage-fault'))
  const shared = text === null ? null : JSON.parse(text) as SharedFault
  if (shared === null || shared.by === processId) return null
  return { ...faultOf(shared.errno, ''), reason: shared.reason }
}
