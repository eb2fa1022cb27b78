import type { Redis } from 'ioredis'
import { endStatuses } from '../../schemas/job-status.ts'
import { ServiceError } from '../errors.ts'
import type { MediaStore } from '../media/store.ts'
import type { StoredImage } from '../media/types.ts'
import type { Keys } from '../redis/keys.ts'
import { indexKey } from './indexes.ts'
import type { Job, JobImage } from './job.ts'
import { countImages, matchImages } from './scripts/index.ts'
import type { JobStore } from './store.ts'

export interface GalleryQuery {
  readonly keyId?: string
  readonly serverId?: string
  /** Only images of jobs that were accepted from this moment on, and before that one; milliseconds since the epoch. */
  readonly since?: number
  readonly until?: number
  /** Only jobs whose prompt contains this, without regard to case (ASCII letters). */
  readonly text?: string
  /** Only images made with a checkpoint or LoRA whose name contains this, without regard to case. */
  readonly model?: string
  /** Only images in this role. */
  readonly role?: StoredImage['role']
  /** About so many images; those of one job stay together. */
  readonly limit: number
  /** Where the page before ended. */
  readonly cursor?: string
}

export interface GalleryImage {
  readonly image: JobImage
  readonly job: Job
}

export interface GalleryPage {
  /** Newest job first. */
  readonly images: GalleryImage[]
  /** Leads to the next page; null at the end. */
  readonly nextCursor: string | null
}

/** The images of all jobs, whatever became of those. */
export interface Gallery {
  page (query: GalleryQuery): Promise<GalleryPage>
  /** How many images there are, of one key or in all. */
  count (keyId?: string): Promise<number>
  /** The image of a name. @throws ServiceError `image_not_found` */
  find (name: string): Promise<GalleryImage>
  /** Deletes one image; its job stays. @throws ServiceError `image_not_found` */
  remove (image: GalleryImage): Promise<void>
}

/** Records that one call reads at the most while it looks for something; the cursor leads on from there. */
const mostExamined = 20_000
const examinedAtOnce = 500

interface Arrived {
  readonly id: string
  readonly arrival: string
}

export function createGallery (
  { redis, keys, store, media }: {
    readonly redis: Redis, readonly keys: Keys, readonly store: JobStore, readonly media: Pick<MediaStore, 'removeOutput'>
  }
): Gallery {
  const prefix: [string] = [keys.key('')]

  /** Ended jobs, newest first, out of the index of each end. */
  async function ended (query: Omit<GalleryQuery, 'limit'>, after: string | undefined, count: number): Promise<Arrived[]> {
    const lowest = query.since === undefined ? '-inf' : String(query.since * 1000)
    const highest = after ?? (query.until === undefined ? undefined : String(query.until * 1000))
    const lists = await Promise.all(endStatuses.map(async status => await redis.zrevrangebyscore(
      indexKey(keys, { ...query, status }), highest === undefined ? '+inf' : `(${highest}`, lowest,
      'WITHSCORES', 'LIMIT', 0, count)))
    return lists.flatMap(pairsOf)
      .sort((one, other) => Number(other.arrival) - Number(one.arrival))
      .slice(0, count)
  }

  async function matching (jobs: readonly Arrived[], { text = '', model = '' }: GalleryQuery): Promise<Job[]> {
    if (jobs.length === 0) return []
    return await store.readMany(await matchImages(redis, prefix,
      [inLowerCase(text), inLowerCase(model), ...jobs.map(({ id }) => id)]))
  }

  return {
    async page (query) {
      const images: GalleryImage[] = []
      const isSearched = (query.text ?? '') !== '' || (query.model ?? '') !== ''
      const step = isSearched ? examinedAtOnce : Math.min(query.limit, examinedAtOnce)
      let after = query.cursor
      for (let examined = 0; examined < mostExamined; examined += step) {
        const found = await ended(query, after, step)
        const jobs = new Map((await matching(found, query)).map(job => [job.id, job]))
        for (const { id, arrival } of found) {
          after = arrival
          const job = jobs.get(id)
          if (job !== undefined) images.push(...imagesOf(job, query.role))
          if (images.length >= query.limit) return { images, nextCursor: after }
        }
        if (found.length < step) return { images, nextCursor: null }
      }
      return { images, nextCursor: after ?? null }
    },
    async count (keyId) {
      if (keyId === undefined) return await redis.hlen(keys.key('outputs'))
      let count = 0
      let after: string | undefined
      for (;;) {
        const found = await ended({ keyId }, after, examinedAtOnce)
        if (found.length > 0) count += await countImages(redis, prefix, found.map(({ id }) => id))
        after = found.at(-1)?.arrival
        if (found.length < examinedAtOnce) return count
      }
    },
    async find (name) {
      const job = await store.jobOfOutput(name)
      const image = job?.result?.images.find(known => known.name === name)
      if (job === null || image === undefined) {
        throw new ServiceError('image_not_found', 'There is no image of this name; it was possibly deleted with its job.')
      }
      return { image, job }
    },
    async remove ({ image, job }) {
      await store.forgetOutput(job.id, image.name)
      await media.removeOutput(image.name)
    }
  }
}

/** The checkpoint that made a job's images, as the server said or as it was asked for; null where neither is known. */
export function checkpointOf ({ submission, result }: Job): string | null {
  const told = result?.info?.sd_model_name
  return submission.checkpointTitle ?? (typeof told === 'string' && told !== '' ? told : submission.checkpoint)
}

function imagesOf (job: Job, role: StoredImage['role'] | undefined): GalleryImage[] {
  return (job.result?.images ?? [])
    .filter(image => role === undefined || image.role === role)
    .map(image => ({ image, job }))
}

function pairsOf (reply: readonly string[]): Arrived[] {
  const found: Arrived[] = []
  for (let at = 0; at + 1 < reply.length; at += 2) found.push({ id: reply[at] ?? '', arrival: reply[at + 1] ?? '' })
  return found
}

/** As Lua does it in Redis: other letters than ASCII have to be spelled as they are. */
function inLowerCase (text: string): string {
  return text.replace(/[A-Z]+/g, letters => letters.toLowerCase())
}
