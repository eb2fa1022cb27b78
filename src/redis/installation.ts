import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Log } from '../log.ts'
import type { Keys } from './keys.ts'

export interface InstallationOptions {
  readonly redis: Redis
  readonly keys: Keys
  readonly log: Log
  /** The mark that DATA_DIR has of the Redis that belongs to it; null where there is none. */
  readonly expected: string | null
}

const exchanged = 'Redis is empty or another than before: its jobs, servers and keys are not those of this installation. ' +
  'If that was not meant, stop the service and bring the former Redis or a backup of it back'

/**
 * Says so, at once, when Redis is not the one that it was: at the start by what DATA_DIR knows, and then whenever a
 * connection comes back.
 */
export async function watchInstallation ({ redis, keys, log, expected }: InstallationOptions): Promise<void> {
  const key = keys.key('installation')
  let known = expected

  async function look (): Promise<void> {
    const before = await redis.get(key)
    if (known !== null && before !== known) log.error({ before: known, now: before ?? 'empty' }, exchanged)
    if (before === null) await redis.set(key, randomUUID(), 'NX')
    known = before ?? await redis.get(key)
  }

  await look()
  redis.on('ready', () => {
    look().catch(error => { log.debug({ err: error }, 'it is not known which Redis this is') })
  })
}
