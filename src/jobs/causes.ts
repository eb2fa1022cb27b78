import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { indexKey, type Job } from './job.ts'
import { checkCauses, listCauses } from './scripts/index.ts'

/** Jobs that one script compares, and milliseconds until the next: a tenth of Redis' time. */
const [checkedAtOnce, checkPause] = [100, 20]
/** Names of keys that Redis looks at for one page. */
const namesAtOnce = 1000

/** The failed jobs with an error code. */
export interface FailureCause {
  readonly code: string
  readonly count: number
  /** The one that arrived last. */
  readonly newest: Job
}

/** The code under which the indexes have a failed job. */
export function codeOf ({ error }: Pick<Job, 'error'>): string {
  return error?.code ?? 'unknown'
}

/**
 * The error codes of the failed jobs in an index.
 * @param failed an index of failed jobs
 * @returns null while the indexes by error code differ from it, as after an earlier version: then records must be read
 */
export async function codesIn (
  { redis, keys }: { redis: Redis, keys: Keys }, failed: string
): Promise<string[] | null> {
  const [isComplete, ...codes] = await listCauses(redis, [keys.key(''), failed], [])
  return isComplete === 1 ? codes : null
}

/**
 * Enters failed jobs of an earlier version into the indexes by error code, and removes those that such a version
 * retried or removed, a few at a time, so that other work goes on.
 * @throws Error if it ends before all are compared; the next call begins again
 */
export async function fillCauses (
  { redis, keys }: { redis: Redis, keys: Keys }, closing: AbortSignal
): Promise<void> {
  async function check (index: string): Promise<void> {
    for (let after = '-inf'; ;) {
      after = await checkCauses(redis, [keys.key(''), index], [after, checkedAtOnce])
      if (after === '') return
      await sleep(checkPause, undefined, { signal: closing })
    }
  }

  const failed = indexKey(keys, { status: 'failed' })
  await check(failed)
  if (await codesIn({ redis, keys }, failed) !== null) return
  for (let cursor = '0'; ;) {
    const [next, names] = await redis.scan(cursor, 'MATCH', keys.key('jobs', '*', '*', 'failed', '*'), 'COUNT', namesAtOnce)
    for (const name of names) await check(name)
    if (next === '0') return
    cursor = next
    closing.throwIfAborted()
  }
}
