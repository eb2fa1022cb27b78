import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import type { StorageCheck } from './storage-check.ts'
import { faultOf, type StorageFault } from './storage-faults.ts'

/** How long other processes believe what one has found, and how often it says so, in milliseconds. */
const lifetime = 5000
const interval = 1000
/** Of one process or machine alone: no other need care. */
const privateErrors = new Set(['EMFILE', 'ENFILE', 'ENOMEM'])

export interface FaultSharing {
  readonly redis: Redis
  readonly keys: Keys
  /** Names this process. */
  readonly processId: string
}

interface SharedFault extends Pick<StorageFault, 'errno' | 'reason'> {
  readonly by: string
}

/**
 * Tells the other processes of the faults that this one finds, for as long as they last. All share DATA_DIR, but what
 * one finds only when it stores an image, such as a quota, the others cannot see.
 */
export function shareStorageFaults (
  { redis, keys, processId }: FaultSharing, storage: Pick<StorageCheck, 'lastOwn' | 'onChange'>
): { close (): void } {
  const key = keys.key('storage-fault')
  let told = false

  async function tell (): Promise<void> {
    const fault = storage.lastOwn()
    if (fault !== null && !privateErrors.has(fault.errno)) {
      const shared: SharedFault = { errno: fault.errno, reason: fault.reason, by: processId }
      told = true
      await redis.set(key, JSON.stringify(shared), 'PX', lifetime)
    } else if (told) {
      told = false
      await redis.del(key)
    }
  }

  // Without Redis nobody can be told; whoever reads it then has another fault to see to.
  const tellQuietly = () => { tell().catch(() => undefined) }
  const timer = setInterval(tellQuietly, interval)
  const forget = storage.onChange(tellQuietly)
  return {
    close () {
      clearInterval(timer)
      forget()
    }
  }
}

/** What another process has found lately; null for nothing. */
export async function readSharedFault ({ redis, keys, processId }: FaultSharing): Promise<StorageFault | null> {
  const text = await redis.get(keys.key('storage-fault'))
  const shared = text === null ? null : JSON.parse(text) as SharedFault
  if (shared === null || shared.by === processId) return null
  return { ...faultOf(shared.errno, ''), reason: shared.reason }
}
