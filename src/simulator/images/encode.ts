import sharp from 'sharp'
import { HttpException } from '../failures.ts'
import { insertIntoJpeg, insertIntoWebp, writeUserComment } from './exif.ts'
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
  const exif = writeUserComment(infotext)
  if (format === 'jpeg') return insertIntoJpeg(await image.jpeg({ quality: 80 }).toBuffer(), exif)
  return insertIntoWebp(await image.webp({ quality: 80 }).toBuffer(), exif, { width, height })
}
