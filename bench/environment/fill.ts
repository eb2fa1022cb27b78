import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { type Job, packResult } from '../../src/jobs/job.ts'
import { createJobStore, type JobStore, type RunClaim } from '../../src/jobs/store.ts'
import { classOf, needsOf } from '../../src/jobs/needs.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { loadScript } from '../../src/redis/scripts.ts'
import { repeat } from './caller.ts'
import { fillDial, recordsOnly } from './records-only.ts'
import { until } from './until.ts'

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
  /** Further values of a job, where they matter. */
  readonly othersOf?: (index: number) => {
    readonly keyId?: string, readonly background?: boolean, readonly bulkId?: string, readonly appType?: string
  }
}

const inFlight = 256
/** For how long Redis can rewrite its file, in milliseconds. */
const rewriting = 300_000

const takeJob = loadScript<[prefix: string], [id: string, server: string], 1>(new URL('take-job.lua', import.meta.url))

/**
 * Fills Redis with records like that of a job, through the same scripts as ever. Waits for no disk meanwhile.
 * @param queueEntries adds the entries of the jobs; without it they have none, which is right where they have ended
 */
export async function fill (
  redis: Redis, like: Job, filling: Filling, queueEntries: string = recordsOnly
): Promise<void> {
  const store = createJobStore({ redis, keys: createKeys('sq'), queueEntries, dial: fillDial })
  await redis.config('SET', 'appendfsync', 'no')
  const fences = new Map<string, number>()
  for (const serverId of filling.serverIds) fences.set(serverId, await fenceOf(redis, serverId))
  await repeat(filling.count, inFlight, index => addJob(redis, store, like, filling, index, fences))
  await redis.config('SET', 'appendfsync', 'always')
  // It rewrites the file whenever that has doubled, which takes a processor and copies pages of its memory.
  await until(async () => /aof_rewrite_in_progress:0/.test(await redis.info('persistence')),
    'Redis has rewritten its file', rewriting)
}

/** The fence of the process that serves the server; a first one if none does. */
async function fenceOf (redis: Redis, serverId: string): Promise<number> {
  const key = createKeys('sq').key('lease', serverId, 'fence')
  await redis.set(key, 1, 'NX')
  return Number(await redis.get(key))
}

async function addJob (
  redis: Redis, store: JobStore, like: Job, filling: Filling, index: number, fences: ReadonlyMap<string, number>
): Promise<void> {
  const { serverIds, keyIds, endOf, promptOf, othersOf } = filling
  const { appType = like.submission.appType, ...others } = othersOf?.(index) ?? {}
  const claim: RunClaim = {
    id: randomUUID(), run: 1, serverId: serverIds[index % serverIds.length] ?? '', owner: like.id
  }
  const seed = 1_000_000_000 + index
  const { parameters } = like.submission
  const target = claim.serverId
  const prompt = `${promptOf(index)}${String(parameters.prompt)}`
  const submission = { ...like.submission, appType, parameters: { ...parameters, prompt, seed } }
  await store.create({
    id: claim.id,
    target,
    jobClass: classOf(needsOf(submission, target), submission),
    workMs: 1000,
    user: '',
    keyId: keyIds[index % keyIds.length] ?? null,
    priority: like.priority,
    background: false,
    bulkId: null,
    submission,
    ...others
  })
  const end = endOf(index)
  if (end === 'cancelled') await store.cancel(claim.id)
  if (end === 'pending' || end === 'cancelled') return
  await takeJob(redis, [createKeys('sq').key('')], [claim.id, target])
  await store.start(claim, fences.get(target) ?? 0)
  const images = (like.result?.images ?? []).map((image, place) =>
    ({ ...image, seed, name: nameOf(image.name, index, place) }))
  await (end === 'failed'
    ? store.end(claim, 'failed', {
        error: { code: 'bad_answer', message: 'The server answered with something else than images.', failureClass: 'passing' }
      })
    : store.end(claim, 'completed', {
        result: packResult({ images, info: like.result?.info ?? null, partial: false, warnings: [] }, submission)
      }))
}

/** Another name for every image, with the same time, from which the service knows its folder; as long, if possible. */
export function nameOf (name: string, index: number, place: number): string {
  const time = name.search(/.\d{4}-\d\d-\d\dT/)
  return `${index}${place}`.padStart(time, '0') + name.slice(time)
}
