import sharp from 'sharp'

export interface Preview {
  readonly jpeg: Buffer
  readonly width: number
  readonly height: number
}

/** Longer side in pixels: enough to see what becomes of a picture, small enough to be sent to many each second. */
const longestSide = 512
const quality = 70
/** A picture that claims more is not decoded. */
const mostPixels = 64_000_000

/** A small JPEG of a server's preview; null where it is no picture. @param base64 with or without a data URL's head */
export async function shrinkPreview (base64: string): Promise<Preview | null> {
  const bytes = Buffer.from(base64.replace(/^data:[^,]*,/, ''), 'base64')
  try {
    const { data, info } = await sharp(bytes, { limitInputPixels: mostPixels })
      .resize(longestSide, longestSide, { fit: 'inside', withoutEnlargement: true })
      .flatten()
      .jpeg({ quality })
      .toBuffer({ resolveWithObject: true })
    return { jpeg: data, width: info.width, height: info.height }
  } catch {
    return null
  }
}
