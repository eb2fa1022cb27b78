import { ServiceError } from '../errors.ts'

/** Why nothing can be kept under DATA_DIR just now: the machine's fault, no job's and no caller's. */
export interface StorageFault {
  /** Of the system call, such as `ENOSPC`. */
  readonly errno: string
  /** File or folder that it was about; for logs, never for callers. */
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

/** Also said of paths that are simply wrong: these are the machine's fault only where a file was to be kept. */
const ambiguous = new Set(['ENOENT', 'ENOTDIR', 'EEXIST', 'EISDIR', 'ELOOP'])

/** System calls of sockets, whose failures say nothing about a disk. */
const socketCalls = new Set(['connect', 'accept', 'bind', 'listen', 'getaddrinfo', 'socket', 'shutdown', 'spawn'])

/** The fault behind what a system call on files threw; null for every other error. */
export function storageFaultOf (error: unknown): StorageFault | null {
  if (error instanceof ServiceError) return error.code === 'storage_full' ? storageFaultOf(error.cause) : null
  if (!(error instanceof Error)) return null
  const { code, syscall, path } = error as NodeJS.ErrnoException
  if (typeof code !== 'string' || typeof syscall !== 'string' || socketCalls.has(syscall)) return null
  if (reasons[code] === undefined) return null
  return faultOf(code, path ?? '')
}

/** The same, where the file was not one of our own to be kept. */
export function machineFaultOf (error: unknown): StorageFault | null {
  const fault = storageFaultOf(error)
  return fault === null || ambiguous.has(fault.errno) ? null : fault
}

export function faultOf (errno: string, path: string): StorageFault {
  return { errno, path, reason: reasons[errno] ?? `a system call failed (${errno})` }
}

/** What callers are told of it. */
export function storageError (fault: StorageFault, cause?: unknown): ServiceError {
  return new ServiceError('storage_full', `Files cannot be kept or read just now: ${fault.reason} (${fault.errno}). ` +
    'Jobs wait until that is mended; try again later.', { reason: fault.errno, retry_after: storageRetrySeconds }, { cause })
}

const storageRetrySeconds = 30
