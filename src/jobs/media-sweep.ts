import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import type { MediaStore } from '../media/store.ts'
import type { MediaReference } from '../lib/media-types.ts'
import type { Keys } from '../lib/keys.ts'
import { indexKey } from './job.ts'
import type { JobStore } from './store.ts'

/** What a sweep removed; null if it could not be sure that the files belong to this Redis. */
export type SweepReport = { readonly outputs: number, readonly inputs: number } | null

export interface MediaSweepDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly store: JobStore
  readonly media: MediaStore
  /** JSON outside of jobs that can refer to inputs, such as presets and sessions of bot users. */
  readonly otherTexts: () => AsyncIterable<string>
}

/** A file beside the outputs: the Redis that they belong to, and its newest job at the last sweep. */
interface SweepMark {
  readonly installation: string
  /** Arrival of the newest job. */
  readonly arrival: number
}

/** The Redis that the outputs belong to, by a mark. */
export function installationOf (mark: string): string {
  return (JSON.parse(mark) as SweepMark).installation
}

/** Records are read in pages, so that a sweep never blocks Redis. */
const page = 200
const referenceInJson = /"\$media":"([^"]+)"/g

/**
 * Removes the files that no job's record names: parts of an answer that a killed worker stored, images of earlier
 * attempts, inputs of jobs that were never created.
 *
 * It removes nothing while it is doubtful whether the folder and Redis belong together: after Redis was emptied,
 * exchanged or restored from an older backup, every newer image would look unused.
 *
 * @param before milliseconds since the epoch; newer files can belong to a job that is just being stored or created
 */
export async function sweepMedia (dependencies: MediaSweepDependencies, before: number): Promise<SweepReport> {
  const { media } = dependencies
  await Promise.all([media.removeOutputDrafts(), media.removeInputDrafts()])
  const mark = await currentMark(dependencies)
  if (!await belongTogether(dependencies, mark)) return null
  await media.writeSweepMark(JSON.stringify(mark))
  return { outputs: await sweepOutputs(dependencies, before), inputs: await sweepInputs(dependencies, before) }
}

async function currentMark ({ redis, keys }: MediaSweepDependencies): Promise<SweepMark> {
  const key = keys.key('installation')
  await redis.setnx(key, randomUUID())
  const [installation, arrival] = await redis.mget(key, keys.key('arrival'))
  return { installation: installation ?? '', arrival: Number(arrival ?? 0) }
}

/** Without a mark, as at the first sweep, one image that a job names is proof enough. */
async function belongTogether ({ redis, keys, media }: MediaSweepDependencies, now: SweepMark): Promise<boolean> {
  const text = await media.readSweepMark()
  if (text !== null) {
    const last = JSON.parse(text) as SweepMark
    return last.installation === now.installation && last.arrival <= now.arrival
  }
  let isEmpty = true
  for await (const names of pagesOf(media.listOutputs(Infinity))) {
    isEmpty = false
    if ((await redis.hmget(keys.key('outputs'), ...names)).some(id => id !== null)) return true
  }
  return isEmpty
}

async function sweepOutputs ({ redis, keys, store, media }: MediaSweepDependencies, before: number): Promise<number> {
  const outputs = keys.key('outputs')
  let removed = 0
  for await (const names of pagesOf(media.listOutputs(before))) {
    const ids = await redis.hmget(outputs, ...names)
    const jobs = await store.readMany([...new Set(ids.filter(id => id !== null))])
    const named = new Set(jobs.flatMap(({ result }) => result?.images.map(({ name }) => name) ?? []))
    const unnamed = names.filter(name => !named.has(name))
    for (const name of unnamed) await media.removeOutput(name)
    if (unnamed.length > 0) await redis.hdel(outputs, ...unnamed)
    removed += unnamed.length
  }
  return removed
}

async function sweepInputs (dependencies: MediaSweepDependencies, before: number): Promise<number> {
  const { redis, keys, media } = dependencies
  const old: MediaReference[] = []
  for await (const reference of media.listInputs(before)) old.push(reference)
  if (old.length === 0) return 0
  const used = await usedInputs(dependencies)
  const unused = old.filter(({ $media: name }) => !used.has(name))
  if (unused.length === 0) return 0
  await redis.hdel(keys.key('input-uses'), ...unused.map(({ $media: name }) => name))
  await media.removeInputs(unused, before)
  return unused.length
}

/**
 * Names of the inputs that jobs and other records refer to. A job that is submitted meanwhile touches its inputs, which
 * protects them.
 */
async function usedInputs ({ redis, keys, otherTexts }: MediaSweepDependencies): Promise<Set<string>> {
  const used = new Set<string>()
  const note = (text: string) => { for (const [, name = ''] of text.matchAll(referenceInJson)) used.add(name) }
  for await (const text of otherTexts()) note(text)
  const all = indexKey(keys, {})
  // By arrival, not by rank: otherwise jobs that are removed meanwhile would make the loop skip others.
  for (let after = '-inf'; ;) {
    const found = await redis.zrangebyscore(all, after, '+inf', 'WITHSCORES', 'LIMIT', 0, page)
    const ids = found.filter((_text, index) => index % 2 === 0)
    if (ids.length === 0) return used
    after = `(${found.at(-1) ?? ''}`
    const pipeline = redis.pipeline()
    for (const id of ids) pipeline.hget(keys.key('job', id), 'submission')
    for (const [error, submission] of await pipeline.exec() ?? []) {
      if (error !== null) throw error
      note(String(submission))
    }
  }
}

async function * pagesOf<Item> (items: AsyncIterable<Item>): AsyncGenerator<Item[], void> {
  let collected: Item[] = []
  for await (const item of items) {
    collected.push(item)
    if (collected.length < page) continue
    yield collected
    collected = []
  }
  if (collected.length > 0) yield collected
}
