import { withoutTrailing } from '../lib/text.ts'
import { open } from 'node:fs/promises'
import sharp from 'sharp'
import { bufferSource, fileSource, type ByteSource } from './byte-source.ts'
import { imageFormatOf } from './image-header.ts'
import { readPngText } from './png-text.ts'

/** Type 7, undefined, of the EXIF field UserComment (EXIF 2.32, §4.6.5). */
const userComment = { tag: 0x9286, pointer: 0x8769 }
const commentHeadBytes = 8
const entryBytes = 12

/**
 * The generation parameters that A1111 wrote into a picture: the text `parameters` of a PNG, the EXIF UserComment of a
 * JPEG or WebP; null when there are none.
 * @param image bytes, or the path of a file
 */
export async function readGenerationText (image: Buffer | string): Promise<string | null> {
  if (typeof image !== 'string') return await readFrom(bufferSource(image), image)
  const file = await open(image)
  try {
    return await readFrom(fileSource(file, (await file.stat()).size), image)
  } finally {
    await file.close()
  }
}

async function readFrom (source: ByteSource, image: Buffer | string): Promise<string | null> {
  const format = imageFormatOf(await source.read(0, 16))
  if (format === 'png') return await readPngText(source, 'parameters')
  if (format === null) return null
  const metadata = await sharp(image).metadata().catch(() => null)
  return metadata?.exif === undefined ? null : commentOf(metadata.exif)
}

/** Where the reader of a broken EXIF block ends up: outside of it. */
function commentOf (exif: Buffer): string | null {
  try {
    const tiff = exif.toString('latin1', 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif
    const little = tiff.toString('latin1', 0, 2) === 'II'
    const short = (at: number) => little ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at)
    const long = (at: number) => little ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at)
    const entry = (directory: number, tag: number) => {
      for (let index = 0; index < short(directory); index++) {
        const at = directory + 2 + index * entryBytes
        if (short(at) === tag) return at
      }
      return null
    }
    const pointer = entry(long(4), userComment.pointer)
    const comment = pointer === null ? null : entry(long(pointer + 8), userComment.tag)
    if (comment === null) return null
    const start = long(comment + 8)
    return textOf(tiff.subarray(start, start + long(comment + 4)), little)
  } catch (error) {
    if (error instanceof RangeError) return null
    throw error
  }
}

/** The first 8 bytes name the encoding. piexif, which A1111 uses, writes big-endian UTF-16 whatever the block says. */
function textOf (comment: Buffer, little: boolean): string | null {
  const encoding = comment.toString('latin1', 0, commentHeadBytes)
  const text = comment.subarray(commentHeadBytes)
  if (encoding.startsWith('UNICODE')) {
    return new TextDecoder(isBigEndian(text, little) ? 'utf-16be' : 'utf-16le').decode(text)
  }
  return withoutTrailing(text.toString(encoding.startsWith('ASCII') ? 'latin1' : 'utf8'), '\0') || null
}

/** Generation parameters are mostly ASCII, so nearly every other byte is zero: the first or the second of each pair. */
function isBigEndian (text: Buffer, little: boolean): boolean {
  let balance = 0
  for (let at = 0; at + 1 < text.length; at += 2) balance += Number(text[at] === 0) - Number(text[at + 1] === 0)
  return balance === 0 ? !little : balance > 0
}
