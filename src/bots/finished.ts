import type { BotFaceRestoreRequest, BotUpscaleRequest } from '../../schemas/bots-generation.ts'
import { invalidField } from '../a1111/field-values.ts'
import type { JobStore } from '../jobs/store.ts'
import { ServiceError } from '../lib/errors.ts'
import { imageFormatOf, imageFormats } from '../media/image-header.ts'
import { type MediaStore, wholeOutput } from '../media/store.ts'
import type { UploadTexts } from '../media/uploads.ts'
import { resultImages } from './job-view.ts'
import type { RequestImage, Size } from './images.ts'

/** Existing images: sent along, or made by a job. */
export interface FinishedImages {
  /**
   * As images of a request.
   * @throws ServiceError `missing_required_field`, `job_not_found`, or `invalid_field_value` for an index too high
   */
  find (
    wanted: Pick<BotUpscaleRequest, 'image' | 'job_id' | 'image_index'>, keyId: string | null
  ): Promise<RequestImage[]>
}

export interface FinishedImagesDependencies {
  readonly store: Pick<JobStore, 'find'>
  readonly media: Pick<MediaStore, 'openOutput' | 'putInput'>
  readonly texts: UploadTexts
}

/** Of one job at once. */
const maxImages = 16

export function createFinishedImages ({ store, media, texts }: FinishedImagesDependencies): FinishedImages {
  async function asInput (name: string): Promise<RequestImage> {
    const bytes = await wholeOutput(media, name)
    const format = imageFormatOf(bytes)
    if (format === null) throw new ServiceError('image_not_found', 'The picture cannot be read any more.')
    return texts.imageOf(await media.putInput(bytes, imageFormats[format].extension))
  }

  return {
    async find ({ image, job_id: id, image_index: index }, keyId) {
      if (image !== null) return [image]
      if (id === null) {
        throw new ServiceError('missing_required_field', 'Send an image, or the job_id of a job that made one.', { field: 'image' })
      }
      const job = await store.find(id)
      if (job === null || job.keyId !== keyId) throw new ServiceError('job_not_found', 'Job not found', { field: 'job_id' })
      const images = resultImages(job)
      const wanted = index === null ? images.slice(0, maxImages) : images.slice(index, index + 1)
      if (wanted.length === 0) {
        throw new ServiceError('invalid_field_value', `The job has ${images.length} finished pictures.`, { field: 'image_index' })
      }
      const found: RequestImage[] = []
      for (const { name } of wanted) found.push(await asInput(name))
      return found
    }
  }
}

/**
 * Upscaling takes the server's memory by the size of the result, and cannot be interrupted once it has begun.
 * @param most pixels of one image
 * @throws ServiceError `missing_required_field` for one side without the other, `invalid_field_value`
 */
export function checkEnlargement (
  { width, height, scale }: Pick<BotUpscaleRequest, 'width' | 'height' | 'scale'>, images: readonly Size[], most: number
): void {
  if ((width === null) !== (height === null)) {
    throw new ServiceError('missing_required_field', 'Say width and height, or the scale alone.', {
      field: width === null ? 'width' : 'height'
    })
  }
  for (const own of images) {
    // for a given size it is upscaled until both sides fit, and then cropped
    const factor = width === null || height === null ? scale : Math.max(width / own.width, height / own.height)
    const large = { width: Math.round(own.width * factor), height: Math.round(own.height * factor) }
    if (large.width * large.height <= most) continue
    throw invalidField(width === null ? 'scale' : 'width', `${own.width}x${own.height} would become ` +
      `${large.width}x${large.height}; a picture can have at most ${most / 1_000_000} million pixels (STUDIO_UPSCALE_MEGAPIXELS).`)
  }
}

/** Parameters of A1111's extras for upscaling: by a factor, or to a size if both sides are given. */
export function upscaleParameters (fields: BotUpscaleRequest): Record<string, unknown> {
  const { width, height, upscaler, upscaler_2: second, restore_faces: restore } = fields
  const size = width !== null && height !== null
    ? { resize_mode: 1, upscaling_resize_w: width, upscaling_resize_h: height, upscaling_crop: fields.crop }
    : { resize_mode: 0, upscaling_resize: fields.scale }
  const mixed = second === null
    ? {}
    : { upscaler_2: second, extras_upscaler_2_visibility: fields.upscaler_2_visibility }
  const upstream = faceParameters(fields)
  const usual = restore === true && upstream.gfpgan_visibility === 0 && upstream.codeformer_visibility === 0
  return {
    ...size,
    ...(upscaler === null ? {} : { upscaler_1: upscaler }),
    ...mixed,
    ...upstream,
    ...(usual ? { codeformer_visibility: 1 } : {})
  }
}

export function faceParameters (
  fields: Pick<BotFaceRestoreRequest, 'gfpgan_visibility' | 'codeformer_visibility' | 'codeformer_weight'>
) {
  return {
    gfpgan_visibility: fields.gfpgan_visibility,
    codeformer_visibility: fields.codeformer_visibility,
    codeformer_weight: fields.codeformer_weight
  }
}
