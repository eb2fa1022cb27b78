import { isRecord } from '../a1111/field-values.ts'
import type { Principal } from '../access/principal.ts'
import type { ImageReader, RequestImage, Size as PictureSize } from '../bots/images.ts'
import type { ImageSources } from '../jobs/image-sources.ts'
import { ServiceError } from '../lib/errors.ts'
import { isUploadedImage } from '../lib/media-types.ts'
import sharp from '../lib/sharp.ts'
import type { MediaStore } from '../media/store.ts'
import type { UploadTexts } from '../media/uploads.ts'
import { type StartImage, wrong } from './request.ts'

/** The pictures of a request, as its body has them. */
export interface SentPictures {
  readonly image?: unknown
  readonly images?: unknown
  readonly mask?: unknown
}

export interface PicturesDependencies {
  readonly imageReader: ImageReader
  readonly imageSources: ImageSources
  readonly media: Pick<MediaStore, 'putInput'>
  readonly texts: UploadTexts
}

/** Pictures of requests, as A1111 takes them. */
export interface Pictures {
  /**
   * The picture to start from, its size upright, and its mask: OpenAI's masks are transparent where the picture is
   * edited, and without one the transparent part of the picture is.
   * @throws ServiceError `missing_required_field`, `invalid_field_value`, `invalid_image`
   */
  read (sent: SentPictures, principal: Principal): Promise<StartImage & { readonly size: PictureSize }>
}

export function createPictures ({ imageReader, imageSources, media, texts }: PicturesDependencies): Pictures {
  async function fetched (value: unknown, field: 'image' | 'mask', principal: Principal): Promise<RequestImage> {
    // The only way of naming a picture is an address; jobs and outputs are no part of OpenAI's API.
    const isAddress = typeof value === 'string' && value.length < 4096 && /^\s*https:/i.test(value)
    const found = isAddress ? (await imageSources.resolve({ [field]: value }, principal))[field] : value
    if (typeof found !== 'string' && !isUploadedImage(found)) throw wrong(field, `${field} must be an image.`)
    return found
  }

  async function keepMask (mask: Buffer, size: PictureSize): Promise<RequestImage> {
    const png = await sharp(mask, { raw: { ...size, channels: 1 } }).png().toBuffer()
    return texts.imageOf(await media.putInput(png, 'png'))
  }

  return {
    async read (sent, principal) {
      const image = await fetched(imageAmong(sent), 'image', principal)
      const bytes = await imageReader.open(image, 'image')
      const size = await imageReader.sizeOf(image, 'image')
      const start = { image: await imageReader.uploaded(image, 'image'), size }
      const said = sent.mask == null ? null : sourceOf(sent.mask, 'mask')
      if (said === null) {
        const own = await transparencyOf(bytes)
        return { ...start, mask: own === null ? null : await keepMask(own.mask, own.size), isErased: own !== null }
      }
      const picture = await imageReader.open(await fetched(said, 'mask', principal), 'mask')
      const found = await transparencyOf(picture)
      if (found === null) {
        throw wrong('mask', 'mask has no transparent part, so there is nothing to edit: make transparent what is to change.')
      }
      if (found.size.width !== size.width || found.size.height !== size.height) {
        throw wrong('mask', `mask must have the size of the image, ${size.width}x${size.height}; it has ` +
          `${found.size.width}x${found.size.height}.`)
      }
      return { ...start, mask: await keepMask(found.mask, found.size), isErased: false }
    }
  }
}

function imageAmong ({ image, images }: SentPictures): unknown {
  const list = [image ?? [], images ?? []].flat() as unknown[]
  const [first, ...others] = list
  if (first === undefined) throw new ServiceError('missing_required_field', 'image is required: the picture to start from.', { field: 'image' })
  if (others.length > 0) {
    throw wrong('image', `A generation starts from one image; ${list.length} were sent.`)
  }
  return sourceOf(first, 'image')
}

/** The picture that OpenAI's JSON refers to. */
function sourceOf (value: unknown, field: 'image' | 'mask'): unknown {
  if (isUploadedImage(value) || !isRecord(value)) return value
  const { image_url: address, file_id: file } = value
  if (file !== undefined) throw wrong(field, 'There are no files to refer to here; send the image itself, or its image_url.')
  if (address === undefined) {
    throw new ServiceError('missing_required_field', `${field} needs an image_url.`, { field })
  }
  return address
}

/** White where the picture is more transparent than opaque; null if it is nowhere. */
async function transparencyOf (picture: Buffer): Promise<{ mask: Buffer, size: PictureSize } | null> {
  const upright = sharp(picture).autoOrient()
  const { hasAlpha } = await upright.metadata()
  if (!hasAlpha) return null
  const { data, info } = await upright.extractChannel('alpha').toColourspace('b-w').raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true })
  if (!data.some(alpha => alpha < 128)) return null
  const mask = Buffer.from(data.map(alpha => alpha < 128 ? 255 : 0))
  return { mask, size: { width: info.width, height: info.height } }
}
