import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { faultOf, type StorageFault } from './storage-fault.ts'
import type { StorageCheck } from './storage.ts'

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
