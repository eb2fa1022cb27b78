import sharp from 'sharp'
import { HttpException } from '../failures.ts'
import type { Picture } from './pixels.ts'

/**
 * The bytes of an image field: bare base64 or a data URL.
 *
 * @throws HttpException 500 for anything else
 */
export function readBase64 (text: string): Buffer {
  const encoded = text.startsWith('data:image/') ? text.slice(text.indexOf(',') + 1) : text
  const isBase64 = /^[A-Za-z0-9+/\s]+=*$/.test(encoded.trimEnd())
  if (!isBase64) throw new HttpException(500, 'Invalid encoded image')
  return Buffer.from(encoded, 'base64')
}

/**
 * Decodes an image and brings it to a size, without alpha.
 *
 * @throws HttpException 500 for bytes that are no image
 */
export async function decodeImage (bytes: Buffer, size?: { width: number, height: number }): Promise<Picture> {
  try {
    const image = sharp(bytes).removeAlpha().toColourspace('srgb')
    const resized = size === undefined ? image : image.resize(size.width, size.height, { fit: 'fill' })
    const { data, info } = await resized.raw().toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, data }
  } catch {
    throw new HttpException(500, 'Invalid encoded image')
  }
}
