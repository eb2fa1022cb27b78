import { open } from 'node:fs/promises'
import sharp from 'sharp'
import { looksLikeJson } from '../a1111/foreign/foreign.ts'
import { readTexts, type GenerationText } from '../a1111/foreign/read-texts.ts'
import { parseInfotext } from '../a1111/infotext.ts'
import { bufferSource, fileSource, type ByteSource } from './byte-source.ts'
import { readExifTexts } from './exif-texts.ts'
import { kindOf } from './picture-kinds.ts'
import { readGifComment, readJpegComment } from './picture-comments.ts'
import { readPngTexts } from './png-text.ts'
import { readStealthText } from './stealth-text.ts'

/** Pictures of more pixels are not decoded in search of text in their bits. */
const mostStealthPixels = 40_000_000
/** Fields of a TIFF that lie further back are not read, in bytes. */
const longestTiff = 64 * 1_048_576

/**
 * The generation parameters in a picture, as A1111 writes them; null when there are none.
 * @param image bytes, or the path of a file
 */
export async function readGenerationText (image: Buffer | string): Promise<string | null> {
  return (await readGeneration(image))?.text || null
}

/** What is known of the generation of a picture, whichever program wrote it; null when there is nothing. */
export async function readGeneration (image: Buffer | string): Promise<GenerationText | null> {
  if (typeof image !== 'string') return await readFrom(bufferSource(image), image)
  const file = await open(image)
  try {
    return await readFrom(fileSource(file, (await file.stat()).size), image)
  } finally {
    await file.close()
  }
}

async function readFrom (source: ByteSource, image: Buffer | string): Promise<GenerationText | null> {
  const kind = kindOf(await source.read(0, 64))
  const texts = kind === 'png' ? await readPngTexts(source) : new Map<string, string>()
  if (kind === 'gif' || kind === 'jpeg') {
    addComment(texts, kind === 'gif' ? await readGifComment(source) : await readJpegComment(source))
  }
  const found = readTexts(texts)
  if (found !== null && found.source !== null) return found
  // sharp takes no other kinds, and from SVG it would read what that points to
  if (!['png', 'jpeg', 'webp', 'avif', 'tiff', 'gif'].includes(kind ?? '')) return found
  const metadata = await sharp(image, { limitInputPixels: false }).metadata().catch(() => null)
  if (metadata === null) return found
  // a TIFF is built as its EXIF block would be
  const exif = kind === 'tiff' ? await source.read(0, longestTiff) : metadata.exif
  const inExif = exif === undefined ? null : readTexts(itemsOfExif(readExifTexts(exif)))
  if (inExif !== null && inExif.source !== null) return inExif
  const { width, height } = metadata
  const mayHide = kind === 'png' || kind === 'webp'
  const hidden = mayHide ? await readStealthText({ image, width, height, mostPixels: mostStealthPixels }) : null
  return (hidden === null ? null : readTexts(new Map([['parameters', hidden]]))) ?? inExif ?? found
}

/** Programs such as encoders sign in comments, too; only parameters count there. */
function addComment (texts: Map<string, string>, comment: string | null): void {
  if (comment !== null && (looksLikeJson(comment) || parseInfotext(comment).fields.size > 0)) texts.set('parameters', comment)
}

/** ComfyUI writes `prompt:{…}` and `workflow:{…}` into whatever field is free; A1111 and others use the comment. */
function itemsOfExif (texts: ReadonlyMap<string, string>): Map<string, string> {
  const items = new Map<string, string>()
  for (const text of texts.values()) {
    const [, key = '', value = ''] = /^(prompt|workflow):\s*(\{.*)$/is.exec(text) ?? []
    if (key !== '' && !items.has(key.toLowerCase())) items.set(key.toLowerCase(), value)
  }
  const software = texts.get('Software')
  if (software !== undefined) items.set('Software', software)
  const [description, comment] = [texts.get('ImageDescription'), texts.get('UserComment')]
  if (comment !== undefined) items.set('parameters', comment)
  else if (description !== undefined && !items.has('prompt')) addComment(items, description)
  return items
}
