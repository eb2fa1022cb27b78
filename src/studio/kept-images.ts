import { insertImages, refuseImageAddresses, replaceImages } from '../a1111/images.ts'
import type { InputImages } from '../jobs/input-images.ts'
import type { MediaStore } from '../media/store.ts'
import type { UploadTexts } from '../media/upload-text.ts'

type Fields = Readonly<Record<string, unknown>>

/** Pictures inside what users have stored: kept as files, so that Redis never holds one. */
export interface KeptImages {
  /**
   * The fields with references for pictures.
   * @throws ServiceError `invalid_image` or `payload_too_large` naming the field
   */
  keep (fields: Fields): Promise<Record<string, unknown>>
  /** The fields as a client may see them and send them again. */
  show (fields: Fields): Promise<Record<string, unknown>>
  /** The fields with the pictures themselves, to be taken elsewhere. @throws ServiceError `image_not_found` */
  embed (fields: Fields): Promise<Record<string, unknown>>
  /** What was kept with these fields is not needed any more. */
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
