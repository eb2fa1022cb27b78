import { isImagePlace } from '../a1111/images.ts'
import { isRecord } from '../a1111/field-values.ts'
import { maySeeJob, type Principal } from '../access/principal.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { isMediaReference, type UploadedImage } from '../lib/media-types.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import type { ImageLimits } from '../media/images.ts'
import { isOutputName } from '../media/output-formats.ts'
import { type MediaStore, wholeOutput } from '../media/store.ts'
import { openUpload, type UploadTexts } from '../media/uploads.ts'
import type { JobStore } from './store.ts'

type Parameters = Readonly<Record<string, unknown>>

/** Images that a request names instead of sending them: outputs of jobs, and https addresses. */
export interface ImageSources {
  /**
   * The parameters with each named image in the store.
   * @throws ServiceError naming the field: `job_not_found`, `image_not_found`, `invalid_image`, `invalid_field_value`
   */
  resolve (parameters: Parameters, caller: Principal): Promise<Parameters>
  /**
   * The bytes of one named image, which are not kept. Any other text is the image itself, and stays one.
   * @throws ServiceError as `resolve`
   */
  read (value: unknown, field: string, caller: Principal): Promise<Buffer | string>
}

export interface ImageSourcesDependencies {
  readonly store: Pick<JobStore, 'find' | 'ownerOfOutput'>
  readonly media: MediaStore
  readonly texts: UploadTexts
  readonly limits: ImageLimits
  /** The bytes at an address, within the time in milliseconds. @throws Error with the reason */
  readonly fetch: (url: URL, keyId: string | null, timeoutMs: number) => Promise<Buffer>
}

/** Images fetched at a time by one process. */
const atOnce = 4
/** For all addresses of one request, in milliseconds. */
const patience = 20_000

export function createImageSources (
  { store, media, texts, limits, fetch }: ImageSourcesDependencies
): ImageSources {
  const fetching = createSemaphore(atOnce)

  async function keep (bytes: Buffer, field: string): Promise<UploadedImage> {
    const sink = await openUpload(field, { store: media, texts, limits })
    try {
      await sink.write(bytes)
      return await sink.end()
    } catch (error) {
      await sink.abort()
      throw error
    }
  }

  async function ofOutput (name: string, field: string, caller: Principal): Promise<Buffer> {
    const owner = await store.ownerOfOutput(name)
    if (owner === undefined || !maySeeJob(caller, owner)) {
      throw new ServiceError('image_not_found', `There is no image ${name}; it was possibly deleted with its job.`, { field })
    }
    return await wholeOutput(media, name)
  }

  async function ofJob (
    { job_id: id, index = 0, ...others }: Parameters, field: string, caller: Principal
  ): Promise<Buffer> {
    const [unknown] = Object.keys(others)
    if (typeof id !== 'string' || unknown !== undefined) {
      throw new ServiceError('invalid_field_value',
        name => `${name} must be an image, or an object with the job_id of a job and the index of its image.`, { field })
    }
    const job = await store.find(id)
    if (job === null || !maySeeJob(caller, job.keyId)) {
      throw new ServiceError('job_not_found', `There is no job ${id}.`, { field: `${field}.job_id` })
    }
    const images = job.result?.images.filter(({ role }) => role === 'image') ?? []
    const image = Number.isInteger(index) ? images[Number(index)] : undefined
    if (image === undefined) {
      throw new ServiceError('invalid_field_value',
        `Job ${id} has ${images.length} finished images; index counts them from 0.`, { field: `${field}.index` })
    }
    return await wholeOutput(media, image.name)
  }

  async function ofAddress (
    address: string, field: string, keyId: string | null, until: number
  ): Promise<Buffer> {
    if (!URL.canParse(address)) {
      throw new ServiceError('invalid_field_value', name => `${name} must be a valid https address.`, { field })
    }
    return await fetching.run(async () => {
      const left = until - performance.now()
      if (left <= 0) throw new Error('the images of this request took too long')
      return await fetch(new URL(address), keyId, left)
    }).catch((error: unknown) => {
      throw new ServiceError('invalid_image', `The image at ${new URL(address).host} could not be fetched: ${messageOf(error)}.`,
        { field }, { cause: error })
    })
  }

  async function bytesOf (
    source: Source, value: unknown, field: string, caller: Principal, until: number
  ): Promise<Buffer> {
    if (source === 'job') return await ofJob(value as Parameters, field, caller)
    const text = String(value).trim()
    return source === 'output' ? await ofOutput(text, field, caller) : await ofAddress(text, field, caller.keyId, until)
  }

  return {
    async read (value, field, caller) {
      const source = isRecord(value) ? 'job' : sourceOf(value)
      return source === null ? String(value) : await bytesOf(source, value, field, caller, performance.now() + patience)
    },
    async resolve (parameters, caller) {
      const until = performance.now() + patience
      let count = 0

      async function walk (value: unknown, path: ReadonlyArray<string | number>): Promise<unknown> {
        const field = path.join('.')
        if (isMediaReference(value)) return value
        const source = isImagePlace(path) ? sourceOf(value) : null
        if (source !== null && ++count > limits.count) {
          throw new ServiceError('payload_too_large', `One job can have at most ${limits.count} images (IMAGES_PER_JOB).`, { field })
        }
        if (source !== null) return await keep(await bytesOf(source, value, field, caller, until), field)
        if (Array.isArray(value)) {
          const items: unknown[] = []
          for (const [index, item] of value.entries()) items.push(await walk(item, [...path, index]))
          return items
        }
        if (!isRecord(value)) return value
        const fields: Record<string, unknown> = {}
        for (const [key, item] of Object.entries(value)) fields[key] = await walk(item, [...path, key])
        return fields
      }

      if (!hasSource(parameters, [])) return parameters
      return await walk(parameters, []) as Parameters
    }
  }
}

/** Whether anything is to be replaced; mostly nothing is, and the parameters stay as they are. */
function hasSource (value: unknown, path: ReadonlyArray<string | number>): boolean {
  if (typeof value !== 'string' && typeof value !== 'object') return false
  // Most values are short texts and numbers, of which none is a source: their place does not matter.
  const isSource = sourceOf(value) !== null
  if (isMediaReference(value)) return false
  if (isSource && isImagePlace(path)) return true
  if (Array.isArray(value)) return value.some((item, index) => hasSource(item, [...path, index]))
  if (!isRecord(value)) return false
  return Object.keys(value).some(key => {
    const item = value[key]
    return (typeof item === 'object' || sourceOf(item) !== null) && hasSource(item, [...path, key])
  })
}

type Source = 'job' | 'output' | 'address'

function sourceOf (value: unknown): Source | null {
  if (isRecord(value)) return Object.hasOwn(value, 'job_id') ? 'job' : null
  if (typeof value !== 'string' || value.length > 4096) return null
  const text = value.trim()
  if (isOutputName(text)) return 'output'
  return /^https:\/\//i.test(text) ? 'address' : null
}
