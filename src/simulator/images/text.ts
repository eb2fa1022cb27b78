import sharp from 'sharp'
import { readPngTexts } from './png.ts'
import { readUserComment } from './exif.ts'

/** The infotext inside an image and whatever other texts a PNG carries. */
export async function readImageText (bytes: Buffer): Promise<{ infotext: string, items: Record<string, string> }> {
  const { parameters, ...items } = readPngTexts(bytes)
  if (parameters !== undefined) return { infotext: parameters, items }
  const { exif } = await sharp(bytes).metadata()
  return { infotext: exif === undefined ? '' : readUserComment(exif), items }
}
