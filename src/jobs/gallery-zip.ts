import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { Redis } from 'ioredis'
import { ZipFile } from 'yazl'
import { stringifyJson } from '../lib/exact-json.ts'
import { seedText } from '../a1111/seeds.ts'
import { ignoring, messageOf, ServiceError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { MediaStore } from '../media/store.ts'
import type { Keys } from '../redis/keys.ts'
import { checkpointOf, type Gallery, type GalleryImage } from './gallery.ts'

/** Images that somebody is about to fetch as one zip. */
export interface ZipOrder {
  readonly names: readonly string[]
  /** Whether each image has a file with its parameters beside it. */
  readonly contents: 'images' | 'images and parameters'
  /** Access key of whoever ordered it; null for those who have none. */
  readonly keyId: string | null
}

export interface ZipDesk {
  /**
   * @param images those of the order, looked up
   * @throws ServiceError `payload_too_large`
   */
  order (order: ZipOrder, images: readonly GalleryImage[]): Promise<{ id: string, bytes: number, expiresAt: number }>
  /** @throws ServiceError `zip_not_found` */
  find (id: string): Promise<ZipOrder>
  /** The zip as it is made: one image is read at a time, and nothing is kept. Ends early when its reader goes. */
  stream (order: ZipOrder): Readable
}

export interface ZipDeskDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly gallery: Gallery
  readonly media: Pick<MediaStore, 'openOutput'>
  readonly log: Log
}

/** How long an order can be fetched, in seconds. */
const lifetime = 3600
/** Images of one zip together. */
const mostBytes = 4 * 1024 ** 3
/** Pictures are compressed already. */
const stored = { compress: false }

export function createZipDesk ({ redis, keys, gallery, media, log }: ZipDeskDependencies): ZipDesk {
  const orderKey = (id: string) => keys.key('zip', id)

  /** Adds what is still there, one after the other, while the reader reads. */
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
        media.openOutput(name).then(output => {
          const stream = output.stream()
          reading.add(stream)
          stream.on('close', () => { reading.delete(stream) })
          if (gone.aborted) stream.destroy()
          give(null, stream)
        }, (error: unknown) => { zip.emit('error', error) })
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
      if (bytes > mostBytes) {
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

/** What made an image, to be read by people and programs. */
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
