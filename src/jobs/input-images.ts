import type { Redis } from 'ioredis'
import { visitImages } from '../a1111/images.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Keys } from '../lib/keys.ts'
import { isMediaReference, type MediaReference } from '../lib/media-types.ts'
import { checkImage, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { UploadTexts } from '../media/uploads.ts'
import type { Job } from './job.ts'

/** Input images of jobs: equal ones are stored once, and deleted with the last job that uses them. */
export interface InputImages {
  /** @throws ServiceError `invalid_image` or `payload_too_large` naming the field */
  keep (image: string | MediaReference, field: string): Promise<MediaReference>
  /** The bytes of one of the job's images, by its name. @throws ServiceError `image_not_found` */
  ofJob (job: Pick<Job, 'submission'>, name: string): Promise<Buffer>
  /** A job with these parameters was deleted. */
  release (parameters: Readonly<Record<string, unknown>>): Promise<void>
}

export interface InputImagesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly media: MediaStore
  readonly limits: ImageLimits
  /** Recognises images that are stored already. */
  readonly texts: UploadTexts
}

/**
 * An image that was stored within this time can be about to be counted for a new job: it is left to the sweep; in
 * milliseconds.
 */
const justBrought = 10_000

export function createInputImages ({ redis, keys, media, limits, texts }: InputImagesDependencies): InputImages {
  const usesKey = keys.key('input-uses')

  async function store (base64: string, field: string): Promise<MediaReference> {
    const { bytes, extension } = await checkImage(base64, field, limits)
    return await media.putInput(bytes, extension)
  }

  return {
    async keep (image, field) {
      const reference = texts.referenceOf(image) ?? await store(String(image), field)
      await redis.hincrby(usesKey, reference.$media, 1)
      return reference
    },
    async ofJob ({ submission }, name) {
      const reference = referencesIn(submission.parameters).find(({ $media }) => $media === name)
      if (reference === undefined) throw new ServiceError('image_not_found', 'The job starts from no image of this name.')
      return await media.readInput(reference)
    },
    async release (parameters) {
      const references = referencesIn(parameters)
      const unused: MediaReference[] = []
      for (const reference of references) {
        if (await redis.hincrby(usesKey, reference.$media, -1) > 0) continue
        await redis.hdel(usesKey, reference.$media)
        unused.push(reference)
      }
      await media.removeInputs(unused, Date.now() - justBrought)
    }
  }
}

function referencesIn (parameters: Readonly<Record<string, unknown>>): MediaReference[] {
  const references: MediaReference[] = []
  visitImages(parameters, ({ image }) => { if (isMediaReference(image)) references.push(image) })
  return references
}
