import { insertImages, refuseImageAddresses, replaceImages } from '../a1111/images.ts'
import type { InputImages } from '../jobs/input-images.ts'
import sharp from '../lib/sharp.ts'
import { checkImage, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { MediaReference } from '../lib/media-types.ts'
import type { UploadTexts } from '../media/uploads.ts'

export interface Size {
  readonly width: number
  readonly height: number
}

/** An image of a request: base64, or one that was uploaded. */
export type RequestImage = string | MediaReference

/** Reads images that came with a request, as base64 or as a file. */
export interface ImageReader {
  /** @throws ServiceError `invalid_image` or `payload_too_large` naming the field */
  open (image: RequestImage, field: string): Promise<Buffer>
  /** As a server sees it, rotated by its EXIF orientation. @throws ServiceError as `open` */
  sizeOf (image: RequestImage, field: string): Promise<Size>
  /** As an upload, so that an image is read once however often it is used. */
  uploaded (image: RequestImage, field: string): Promise<RequestImage>
}

export interface ImageReaderDependencies {
  readonly media: Pick<MediaStore, 'readInput' | 'putInput'>
  readonly texts: UploadTexts
  readonly limits: ImageLimits
}

export function createImageReader ({ media, texts, limits }: ImageReaderDependencies): ImageReader {
  async function open (image: RequestImage, field: string): Promise<Buffer> {
    const uploaded = texts.referenceOf(image)
    return uploaded === null ? (await checkImage(String(image), field, limits)).bytes : await media.readInput(uploaded)
  }
  return {
    open,
    async uploaded (image, field) {
      if (texts.referenceOf(image) !== null) return image
      const { bytes, extension } = await checkImage(String(image), field, limits)
      return texts.imageOf(await media.putInput(bytes, extension))
    },
    async sizeOf (image, field) {
      const { width, height, autoOrient } = await sharp(await open(image, field)).metadata()
      return autoOrient ?? { width, height }
    }
  }
}

type Fields = Readonly<Record<string, unknown>>

/** Images inside stored data of users: kept as files, so that Redis never holds one. */
export interface KeptImages {
  /**
   * The fields with references instead of images.
   * @throws ServiceError `invalid_image` or `payload_too_large` naming the field
   */
  keep (fields: Fields): Promise<Record<string, unknown>>
  /** The fields as a client can see them and send them again. */
  show (fields: Fields): Promise<Record<string, unknown>>
  /** The fields as if they came with a request. */
  use (fields: Fields): Promise<Record<string, unknown>>
  /** The fields with the images themselves, for export. @throws ServiceError `image_not_found` */
  embed (fields: Fields): Promise<Record<string, unknown>>
  /** The files of these fields are not needed any more. */
  release (fields: Fields): Promise<void>
}

export function createKeptImages (inputs: InputImages, texts: UploadTexts, media: MediaStore): KeptImages {
  return {
    async keep (fields) {
      refuseImageAddresses(fields)
      return await replaceImages(fields, inputs.keep)
    },
    show: async fields => await insertImages(fields, async reference => texts.textOf(reference)),
    use: async fields => await insertImages(fields, async reference => texts.imageOf(reference)),
    embed: async fields => await insertImages(fields, async reference =>
      (await media.readInput(reference)).toString('base64')),
    release: async fields => { await inputs.release(fields) }
  }
}
