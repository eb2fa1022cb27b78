import sharp from 'sharp'
import { checkImage, type ImageLimits } from '../media/images.ts'
import type { MediaStore } from '../media/store.ts'
import type { UploadTexts } from '../media/upload-text.ts'

export interface Size {
  readonly width: number
  readonly height: number
}

/** Looking into pictures that came with a request, as base64 or as a file. */
export interface Pictures {
  /** @throws ServiceError `invalid_image` or `payload_too_large` naming the field */
  open (text: string, field: string): Promise<Buffer>
  /** As a server sees it, turned the way the camera was held. @throws ServiceError as `open` */
  sizeOf (text: string, field: string): Promise<Size>
  /** The text of an upload in place of base64, so that a picture is read once however often it is used. */
  uploaded (text: string, field: string): Promise<string>
}

export interface PicturesDependencies {
  readonly media: Pick<MediaStore, 'readInput' | 'putInput'>
  readonly texts: UploadTexts
  readonly limits: ImageLimits
}

export function createPictures ({ media, texts, limits }: PicturesDependencies): Pictures {
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
