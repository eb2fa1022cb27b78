import type { Redis } from 'ioredis'
import { visitImages } from '../a1111/images.ts'
import { ServiceError } from '../errors.ts'
import type { ImageLimits } from '../media/images.ts'
import { checkImage } from '../media/images.ts'
import type { UploadTexts } from '../media/upload-text.ts'
import type { MediaStore } from '../media/store.ts'
import { isMediaReference, type MediaReference } from '../media/types.ts'
import type { Keys } from '../redis/keys.ts'
import type { Job } from './job.ts'

/** Input images of jobs: equal ones are kept once, and go when the last job that uses them goes. */
export interface InputImages {
  /** @throws ServiceError `invalid_image` or `payload_too_large` naming the field */
  keep (base64: string, field: string): Promise<MediaReference>
  /** The bytes of one of the job's images, by its name. @throws ServiceError `image_not_found` */
  ofJob (job: Pick<Job, 'submission'>, name: string): Promise<Buffer>
  /** A job with these parameters is no more. */
  release (parameters: Readonly<Record<string, unknown>>): Promise<void>
}

export interface InputImagesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly media: MediaStore
  readonly limits: ImageLimits
  /** Knows the marks of images that were uploaded as files. */
  readonly texts: UploadTexts
}

/** An image brought so lately may be about to be counted for a new job: it is left to the sweep, in milliseconds. */
const justBrought = 10_000

export function createInputImages ({ redis, keys, media, limits, texts }: InputImagesDependencies): InputImages {
  const usesKey = keys.key('input-uses')

  async function store (base64: string, field: string): Promise<MediaReference> {
    const { bytes, extension } = await checkImage(base64, field, limits)
    return await media.putInput(bytes, extension)
  }

  return {
    async keep (base64, field) {
      const reference = texts.referenceOf(base64) ?? await store(base64, field)
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
