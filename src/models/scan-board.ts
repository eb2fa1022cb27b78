import type { Redis } from 'ioredis'
import { objectOf } from '../a1111/json-values.ts'
import type { Keys } from '../redis/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import type { ScanReport } from './scan.ts'

/** How the last scan stands, for every process to see. Moments are milliseconds since the epoch. */
export interface ScanStatus {
  readonly state: 'never' | 'waiting' | 'running' | 'completed' | 'stopped' | 'failed'
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly report: ScanReport | null
  readonly problem: string | null
}

export interface ScanBoard {
  read (): Promise<ScanStatus>
  write (status: ScanStatus): Promise<void>
  /** Asks whichever process scans to stop. */
  requestStop (): Promise<void>
  /** Whether a stop was asked for; asking takes the request away. */
  takeStop (): Promise<boolean>
}

const writeStatus = loadScript<[prefix: string], [status: string, data: string, endedAt: number | ''], null>(
  new URL('scripts/write-scan-status.lua', import.meta.url))

const never: ScanStatus = { state: 'never', startedAt: null, endedAt: null, report: null, problem: null }

export function createScanBoard (redis: Redis, keys: Keys): ScanBoard {
  const statusKey = keys.key('model-scan')
  const stopKey = keys.key('model-scan', 'stop')
  return {
    async read () {
      const text = await redis.get(statusKey)
      return text === null ? never : objectOf(JSON.parse(text)) as unknown as ScanStatus
    },
    async write (status) {
      const { state, endedAt, report } = status
      const told = JSON.stringify({ state, ...report?.stats })
      await writeStatus(redis, [keys.key('')], [JSON.stringify(status), told, endedAt ?? ''])
    },
    async requestStop () { await redis.set(stopKey, '1', 'EX', 60) },
    takeStop: async () => await redis.del(stopKey) === 1
  }
}
