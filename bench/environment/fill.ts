import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { Job } from '../../src/jobs/job.ts'
import type { QueuePort } from '../../src/jobs/queue-entries.ts'
import { createJobStore, type JobStore, type RunClaim } from '../../src/jobs/store.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { repeat } from './caller.ts'
import { recordsOnly } from './records-only.ts'

export interface Filling {
  readonly count: number
  /** Jobs go to these in turn. */
  readonly serverIds: readonly string[]
  /** Owners in rotation; null is no owner. */
  readonly keyIds: ReadonlyArray<string | null>
  /** State of the job with this number, from 0. */
  readonly endOf: (index: number) => 'completed' | 'failed' | 'cancelled' | 'pending'
  /** Start of its prompt. */
  readonly promptOf: (index: number) => string
}

const inFlight = 256

/**
 * Fills Redis with records like that of a job, through the same scripts as ever. Waits for no disk meanwhile.
 * @param queue gets the entries of the jobs; without one they have none, which is right where they have ended
 */
export async function fill (
  redis: Redis, like: Job, filling: Filling, queue: QueuePort = recordsOnly
): Promise<void> {
  const store = createJobStore({ redis, keys: createKeys('sq'), queue })
  await redis.config('SET', 'appendfsync', 'no')
  const fences = new Map<string, number>()
  for (const serverId of filling.serverIds) fences.set(serverId, await fenceOf(redis, serverId))
  await repeat(filling.count, inFlight, index => addJob(store, like, filling, index, fences))
  await redis.config('SET', 'appendfsync', 'always')
}

/** The fence of the process that serves the server; a first one if none does. */
async function fenceOf (redis: Redis, serverId: string): Promise<number> {
  const key = createKeys('sq').key('lease', serverId, 'fence')
  await redis.set(key, 1, 'NX')
  return Number(await redis.get(key))
}

async function addJob (
  store: JobStore, like: Job, filling: Filling, index: number, fences: ReadonlyMap<string, number>
): Promise<void> {
  const { serverIds, keyIds, endOf, promptOf } = filling
  const claim: RunClaim = {
    id: randomUUID(), run: 1, serverId: serverIds[index % serverIds.length] ?? '', owner: like.id
  }
  const seed = 1_000_000_000 + index
  const { parameters } = like.submission
  await store.create({
    ...claim,
    keyId: keyIds[index % keyIds.length] ?? null,
    priority: like.priority,
    bulkId: null,
    submission: {
      ...like.submission,
      parameters: { ...parameters, prompt: `${promptOf(index)}${String(parameters.prompt)}`, seed }
    }
  })
  const end = endOf(index)
  if (end === 'cancelled') await store.cancel(claim.id)
  if (end === 'pending' || end === 'cancelled') return
  await store.start(claim, fences.get(claim.serverId) ?? 0)
  const images = (like.result?.images ?? []).map((image, place) =>
    ({ ...image, seed, name: nameOf(image.name, index, place) }))
  await (end === 'failed'
    ? store.end(claim, 'failed', {
      error: { code: 'bad_answer', message: 'The server answered with something else than images.', failureClass: 'passing' }
    })
    : store.end(claim, 'completed', {
      result: { images, info: like.result?.info ?? null, partial: false, warnings: [] }
    }))
}

/** As long as the name that it is like, and another for every image. */
function nameOf (name: string, index: number, place: number): string {
  return `${String(index).padStart(10, '0')}${place}`.slice(0, name.length) + name.slice(11)
}
