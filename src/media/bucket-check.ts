import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from '../lib/logging.ts'
import type { Bucket } from './bucket.ts'
import { BucketError, type StorageFault } from './storage-fault.ts'

/** What the trial does in the bucket. */
export type BucketStep = 'write' | 'read' | 'list' | 'delete'

const trialMime = 'application/octet-stream'

export interface BucketFailure {
  readonly step: BucketStep
  readonly error: BucketError
}

/** Writes, reads, lists and deletes an object. @returns the first failure; null if all succeed */
export async function tryBucket (bucket: Bucket): Promise<BucketFailure | null> {
  const key = `.check/${randomUUID()}`
  const bytes = Buffer.from(key)
  const steps: ReadonlyArray<readonly [BucketStep, () => Promise<unknown>]> = [
    ['write', async () => await bucket.put(key, bytes, trialMime, 'any')],
    ['read', async () => {
      if ((await bucket.readAll(key))?.equals(bytes) !== true) throw unlike('an object that was just written cannot be read', key)
    }],
    ['list', async () => {
      for await (const found of bucket.list(key, 1)) if (found.key === key) return
      throw unlike('an object that was just written is not listed', key)
    }],
    ['delete', async () => { await bucket.remove(key) }]
  ]
  for (const [step, work] of steps) {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof BucketError)) throw error
      if (step === 'read' || step === 'list') await bucket.remove(key).catch(() => undefined)
      return { step, error }
    }
  }
  return null
}

/**
 * For the start: refuses a bucket that waiting cannot mend.
 * @throws Error with a sentence that names the settings
 */
export async function requireFitBucket (bucket: Bucket, log: Log): Promise<void> {
  const failure = await tryBucket(bucket)
  if (failure === null) return
  const sentence = failureSentence(bucket, failure)
  if (failure.error.remedy !== null) throw new Error(`${sentence} ${failure.error.remedy}`)
  log.error({ err: failure.error }, sentence)
}

/** @param failure of `tryBucket` */
export function failureSentence ({ shown }: Bucket, { step, error: { fault } }: BucketFailure): string {
  return `MEDIA_URL is ${shown}, where no object can be ${participles[step]}: ${fault.reason} (${fault.errno}).`
}

const participles: Readonly<Record<BucketStep, string>> = {
  write: 'written', read: 'read', list: 'listed', delete: 'deleted'
}

function unlike (reason: string, path: string): BucketError {
  return new BucketError({ errno: 'inconsistent', path, reason }, 'Use a service that is consistent, as S3 is.')
}

const silent: StorageFault = { errno: 'ETIMEDOUT', path: '', reason: 'the bucket does not answer in time' }
/** How long a successful check is trusted, in milliseconds: each costs a request. */
const trustedFor = 10_000
/** How long a caller waits for a check while the last one failed, in milliseconds. */
const patience = 1000

/**
 * Finds why the bucket cannot be used. While it can, a list of one object now and then is enough, and no caller waits
 * for it; after a failure of any work it is tried whole.
 */
export function createBucketCheck (bucket: Bucket): (isTroubled: boolean) => Promise<StorageFault | null> {
  let known: StorageFault | null = null
  let checkedAt = -Infinity
  let checking: Promise<StorageFault | null> | null = null

  async function check (isWhole: boolean): Promise<StorageFault | null> {
    try {
      if (!isWhole) await bucket.list('', 1)[Symbol.asyncIterator]().next()
      else known = (await tryBucket(bucket))?.error.fault ?? null
    } catch (error) {
      if (!(error instanceof BucketError)) throw error
      known = error.fault
    }
    checkedAt = performance.now()
    return known
  }

  return async isTroubled => {
    if (!isTroubled && known === null && performance.now() - checkedAt < trustedFor) return null
    const isFirst = checkedAt === -Infinity
    checking ??= check(isFirst || isTroubled || known !== null).finally(() => { checking = null })
    checking.catch(() => undefined)
    if (isFirst) return await checking
    if (!isTroubled && known === null) return null
    return await Promise.race([checking, sleep(patience, known ?? silent, { ref: false })])
  }
}
