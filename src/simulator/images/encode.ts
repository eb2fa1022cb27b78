import sharp from 'sharp'
import { HttpException } from '../failures.ts'
import { encodePng } from './png.ts'
import type { Picture } from './pixels.ts'

export type ImageFormat = 'png' | 'jpeg' | 'webp'

/**
 * The format that the option `samples_format` asks for.
 *
 * @throws HttpException for any other than png, jpg, jpeg and webp
 */
export function readFormat (option: unknown): ImageFormat {
  const name = String(option).toLowerCase()
  if (name === 'png') return 'png'
  if (name === 'jpg' || name === 'jpeg') return 'jpeg'
  if (name === 'webp') return 'webp'
  throw new HttpException(500, 'Invalid image format')
}

/** Encodes a picture with its infotext inside, as PNG text or EXIF user comment; `pngLevel` is zlib's, 0 to 9. */
export async function encodeImage (
  picture: Picture, format: ImageFormat, infotext: string, pngLevel: number
): Promise<Buffer> {
  if (format === 'png') return await encodePng(picture, { parameters: infotext }, pngLevel)
  const { data, width, height } = picture
  const image = sharp(data, { raw: { width, height, channels: 3 } })
    .withExif({ IFD2: { UserComment: infotext } })
  return await (format === 'jpeg' ? image.jpeg({ quality: 80 }) : image.webp({ quality: 80 })).toBuffer()
}
