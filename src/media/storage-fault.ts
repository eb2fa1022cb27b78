import { ServiceError } from '../lib/errors.ts'

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

/** A fault in plain words. @param errno of the system call */
export function faultOf (errno: string, path: string): StorageFault {
  return { errno, path, reason: reasons[errno] ?? `a system call failed (${errno})` }
}

/** The error for clients. */
export function storageError (fault: StorageFault, cause?: unknown): ServiceError {
  return new ServiceError('storage_full', `Files cannot be kept or read just now: ${fault.reason} (${fault.errno}). ` +
    'Jobs wait until that is mended; try again later.', { reason: fault.errno, retry_after: storageRetrySeconds }, { cause })
}

const storageRetrySeconds = 30
