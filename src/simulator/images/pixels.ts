import { HttpException } from '../../fastapi/errors.ts'
import sharp from '../../lib/sharp.ts'

/** An RGB bitmap in memory, three bytes a pixel, rows from the top. */
export interface Bitmap {
  readonly width: number
  readonly height: number
  readonly data: Buffer
}

export function createBitmap (width: number, height: number): Bitmap {
  return { width, height, data: Buffer.alloc(width * height * 3) }
}

/** Copies a bitmap into another one; the part that does not fit is cut off. */
export function paste (target: Bitmap, source: Bitmap, left: number, top: number): void {
  const bytes = Math.min(source.width, target.width - left) * 3
  for (let row = 0; row < Math.min(source.height, target.height - top); row += 1) {
    source.data.copy(target.data, ((top + row) * target.width + left) * 3, row * source.width * 3,
      row * source.width * 3 + bytes)
  }
}

/** Pictures of one size side by side, in as many rows as A1111's grid has: the rounded root of their number. */
export function arrangeGrid (bitmaps: readonly Bitmap[]): Bitmap {
  const [first] = bitmaps
  if (first === undefined) return createBitmap(1, 1)
  const rows = Math.min(Math.round(Math.sqrt(bitmaps.length)), bitmaps.length)
  const columns = Math.ceil(bitmaps.length / rows)
  const grid = createBitmap(columns * first.width, rows * first.height)
  for (const [index, bitmap] of bitmaps.entries()) {
    paste(grid, bitmap, (index % columns) * first.width, Math.floor(index / columns) * first.height)
  }
  return grid
}

/** The bitmap in another size, each pixel from the nearest one. */
export function resizeBitmap (bitmap: Bitmap, size: { readonly width: number, readonly height: number }): Bitmap {
  if (bitmap.width === size.width && bitmap.height === size.height) return bitmap
  const result = createBitmap(size.width, size.height)
  for (let y = 0; y < size.height; y += 1) {
    const row = Math.floor(y * bitmap.height / size.height) * bitmap.width
    for (let x = 0; x < size.width; x += 1) {
      const from = (row + Math.floor(x * bitmap.width / size.width)) * 3
      bitmap.data.copy(result.data, (y * size.width + x) * 3, from, from + 3)
    }
  }
  return result
}

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
export async function decodeImage (bytes: Buffer, size?: { width: number, height: number }): Promise<Bitmap> {
  try {
    const image = sharp(bytes).removeAlpha().toColourspace('srgb')
    const resized = size === undefined ? image : image.resize(size.width, size.height, { fit: 'fill' })
    const { data, info } = await resized.raw().toBuffer({ resolveWithObject: true })
    return { width: info.width, height: info.height, data }
  } catch {
    throw new HttpException(500, 'Invalid encoded image')
  }
}
