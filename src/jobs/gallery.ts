import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Redis } from 'ioredis'
import { ZipFile } from 'yazl'
import { endStatuses } from '../../schemas/job.ts'
import { ignoring, messageOf, ServiceError } from '../lib/errors.ts'
import { stringifyJson } from '../lib/exact-json.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import type { StoredImage } from '../lib/media-types.ts'
import { seedText } from '../lib/seeds.ts'
import type { MediaStore } from '../media/store.ts'
import { indexKey, type Job, type JobImage } from './job.ts'
import { leaveToSweep } from './retention.ts'
import { countImages, matchImages } from './scripts/index.ts'
import type { JobStore } from './store.ts'

export interface GalleryQuery {
  readonly keyId?: string
  readonly serverId?: string
  /** Only images of jobs accepted at or after this time, and before that one; milliseconds since the epoch. */
  readonly since?: number
  readonly until?: number
  /** Only jobs whose prompt contains this text, ignoring case (ASCII letters). */
  readonly text?: string
  /** Only images made with a checkpoint or LoRA whose name contains this text, ignoring case. */
  readonly model?: string
  /** Only images in this role. */
  readonly role?: StoredImage['role']
  /** About so many images; those of one job stay together. */
  readonly limit: number
  /** Where the previous page ended. */
  readonly cursor?: string
}

export interface GalleryImage {
  readonly image: JobImage
  readonly job: Job
}

export interface GalleryPage {
  /** Newest job first. */
  readonly images: GalleryImage[]
  /** The cursor of the next page; null at the end. */
  readonly nextCursor: string | null
}

/** The images of all jobs, whatever their status. */
export interface Gallery {
  page (query: GalleryQuery): Promise<GalleryPage>
  /** The number of images, of one key or in total. */
  count (keyId?: string): Promise<number>
  /** The image with this name. @throws ServiceError `image_not_found` */
  find (name: string): Promise<GalleryImage>
  /** Deletes one image; its job stays. @throws ServiceError `image_not_found` */
  remove (image: GalleryImage): Promise<void>
}

/** Records that one call reads at most during a search; the cursor continues from there. */
const maxExamined = 20_000
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

  /** Finished jobs, newest first, from the index of each final status. */
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
      for (let examined = 0; examined < maxExamined; examined += step) {
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
      await media.removeOutput(image.name).catch(leaveToSweep)
    }
  }
}

/**
 * The checkpoint that made a job's images, as the server reported or the client requested it; null if neither is known.
 */
export function checkpointOf (job: Job): string | null {
  return job.submission.checkpointTitle ?? checkpointUsedBy(job) ?? job.submission.checkpoint
}

/** The checkpoint that made a job's images, as the server says in its answer or in the images; null if it does not. */
export function checkpointUsedBy ({ result }: Pick<Job, 'result'>): string | null {
  if (result === null || result.images.length === 0) return null
  const { sd_model_name: named, infotexts } = result.info ?? {}
  if (typeof named === 'string' && named !== '') return named
  const text: unknown = Array.isArray(infotexts) ? infotexts[0] : null
  return typeof text === 'string' ? /(?:^|, )Model: ("(?:[^"\\]|\\.)*"|[^,\n]+)/m.exec(text)?.[1]?.replace(/^"|"$/g, '') ?? null : null
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

/** Like Lua in Redis: only ASCII letters match regardless of case. */
function inLowerCase (text: string): string {
  return text.replace(/[A-Z]+/g, letters => letters.toLowerCase())
}

/** Images that a client is about to fetch as one zip. */
export interface ZipOrder {
  readonly names: readonly string[]
  /** Whether each image comes with a file of its parameters. */
  readonly contents: 'images' | 'images and parameters'
  /** Access key that ordered it; null for clients without a key. */
  readonly keyId: string | null
}

export interface ZipService {
  /**
   * @param images the images of the order, looked up
   * @throws ServiceError `payload_too_large`
   */
  order (order: ZipOrder, images: readonly GalleryImage[]): Promise<{ id: string, bytes: number, expiresAt: number }>
  /** @throws ServiceError `zip_not_found` */
  find (id: string): Promise<ZipOrder>
  /**
   * The zip, made while it is sent: it reads one image at a time and stores nothing. Stops when its reader disconnects.
   */
  stream (order: ZipOrder): Readable
}

export interface ZipServiceDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly gallery: Gallery
  readonly media: Pick<MediaStore, 'openOutput'>
  readonly log: Log
}

/** How long clients can fetch an order, in seconds. */
const lifetime = 3600
/** Total size of the images of one zip. */
const maxBytes = 4 * 1024 ** 3
/** Images are compressed already. */
const stored = { compress: false }

export function createZipService ({ redis, keys, gallery, media, log }: ZipServiceDependencies): ZipService {
  const orderKey = (id: string) => keys.key('zip', id)

  /** Adds the images that still exist, one after the other, while the reader reads. */
  async function fill (zip: ZipFile, { names, contents }: ZipOrder, reading: Set<Readable>, gone: AbortSignal) {
    const missing: string[] = []
    for (const name of names) {
      if (gone.aborted) return
      const found = await gallery.find(name).catch(ignoring('image_not_found'))
      if (found === undefined) {
        missing.push(name)
        continue
      }
      const mtime = new Date(found.job.endedAt ?? found.job.updatedAt)
      zip.addReadStreamLazy(name, { ...stored, mtime, size: found.image.bytes }, give => {
        media.openOutput(name).then(async output => {
          const stream = await output.stream()
          reading.add(stream)
          stream.on('close', () => { reading.delete(stream) })
          if (gone.aborted) stream.destroy()
          give(null, stream)
        }).catch((error: unknown) => { zip.emit('error', error) })
      })
      if (contents === 'images and parameters') {
        zip.addBuffer(Buffer.from(stringifyJson(parametersOf(found), null, 2)), `${name}.json`, { mtime })
      }
    }
    if (missing.length > 0) {
      zip.addBuffer(Buffer.from(`These images were deleted meanwhile:\n${missing.join('\n')}\n`), 'missing.txt')
    }
    zip.end()
  }

  return {
    async order (order, images) {
      const bytes = images.reduce((sum, { image }) => sum + image.bytes, 0)
      if (bytes > maxBytes) {
        throw new ServiceError('payload_too_large',
          `These images have ${Math.ceil(bytes / 1024 ** 2)} MiB together; one zip can have up to 4 GiB.`, { field: 'filenames' })
      }
      const id = randomUUID()
      await redis.set(orderKey(id), stringifyJson(order), 'EX', lifetime)
      return { id, bytes, expiresAt: Date.now() + lifetime * 1000 }
    },
    async find (id) {
      const text = await redis.get(orderKey(id))
      if (text === null) throw noSuchZip(id)
      return JSON.parse(text) as ZipOrder
    },
    stream (order) {
      const zip = new ZipFile()
      const output = zip.outputStream as Readable
      const reading = new Set<Readable>()
      const left = new AbortController()
      output.on('close', () => {
        left.abort()
        for (const stream of reading) stream.destroy()
      })
      zip.on('error', error => { output.destroy(error instanceof Error ? error : new Error(messageOf(error))) })
      output.on('error', error => { log.warn({ err: error }, 'a zip broke off') })
      fill(zip, order, reading, left.signal).catch(error => { zip.emit('error', error) })
      return output
    }
  }
}

export function noSuchZip (id: string): ServiceError {
  return new ServiceError('zip_not_found', `There is no zip ${id}; a zip is available for one hour.`)
}

/** The parameters of an image, readable for people and programs. */
function parametersOf ({ image, job }: GalleryImage): Record<string, unknown> {
  return {
    filename: image.name,
    seed: image.seed,
    seed_text: seedText(image.seed),
    job_id: job.id,
    mode: job.submission.mode,
    checkpoint: checkpointOf(job),
    accepted_at: new Date(job.createdAt).toISOString(),
    generation_params: job.submission.parameters
  }
}
