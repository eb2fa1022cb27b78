import sharp from 'sharp'
import { insertImages, refuseImageAddresses, replaceImages } from '../a1111/images.ts'
import type { InputImages } from '../jobs/submit.ts'
import { checkImage, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { UploadTexts } from '../media/uploads.ts'

export interface Size {
  readonly width: number
  readonly height: number
}

/** Reads images that came with a request, as base64 or as a file. */
export interface ImageReader {
  /** @throws ServiceError `invalid_image` or `payload_too_large` naming the field */
  open (text: string, field: string): Promise<Buffer>
  /** As a server sees it, rotated by its EXIF orientation. @throws ServiceError as `open` */
  sizeOf (text: string, field: string): Promise<Size>
  /** The reference of an upload in place of base64, so that an image is read once however often it is used. */
  uploaded (text: string, field: string): Promise<string>
}

export interface ImageReaderDependencies {
  readonly media: Pick<MediaStore, 'readInput' | 'putInput'>
  readonly texts: UploadTexts
  readonly limits: ImageLimits
}

export function createImageReader ({ media, texts, limits }: ImageReaderDependencies): ImageReader {
  async function open (text: string, field: string): Promise<Buffer> {
    const uploaded = texts.referenceOf(text)
    return uploaded === null ? (await checkImage(text, field, limits)).bytes : await media.readInput(uploaded)
  }
  return {
    open,
    async uploaded (text, field) {
      if (texts.referenceOf(text) !== null) return text
      const { bytes, extension } = await checkImage(text, field, limits)
      return texts.textOf(await media.putInput(bytes, extension))
    },
    async sizeOf (text, field) {
      const { width, height, autoOrient } = await sharp(await open(text, field)).metadata()
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
  /** The fields with the images themselves, for export. @throws ServiceError `image_not_found` */
  embed (fields: Fields): Promise<Record<string, unknown>>
  /** The files of these fields are not needed any more. */
  release (fields: Fields): Promise<void>
}

export function createKeptImages (inputs: InputImages, texts: UploadTexts, media: MediaStore): KeptImages {
  return {
    async keep (fields) {
      refuseImageAddresses(fields)
      return await replaceImages(fields, async (text, field) => await inputs.keep(text, field))
    },
    show: async fields => await insertImages(fields, async reference => texts.textOf(reference)),
    embed: async fields => await insertImages(fields, async reference =>
      (await media.readInput(reference)).toString('base64')),
    release: async fields => { await inputs.release(fields) }
  }
}
