import { promisify } from 'node:util'
import { crc32, deflate, deflateSync } from 'node:zlib'
import sharp from '../../lib/sharp.ts'
import { withoutTrailing } from '../../lib/text.ts'
import type { Bitmap } from './pixels.ts'

const compress = promisify(deflate)
const signature = Buffer.from([0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
const filterUp = 2

/** Below this many bytes a trip to another thread costs more than compressing here. */
const smallBytes = 65_536

/**
 * Encodes a bitmap as PNG, with the given texts inside under their keywords. Written here because sharp cannot write
 * PNG texts, and because A1111's answers are recognised by theirs. Big bitmaps are compressed off the main thread.
 */
export async function encodePng (
  bitmap: Bitmap, texts: Readonly<Record<string, string>> = {}, level = 4
): Promise<Buffer> {
  const rows = filterRows(bitmap)
  const pixels = rows.length < smallBytes ? deflateSync(rows, { level }) : await compress(rows, { level })
  const header = Buffer.alloc(13)
  header.writeUInt32BE(bitmap.width, 0)
  header.writeUInt32BE(bitmap.height, 4)
  header.set([8, 2, 0, 0, 0], 8)
  return Buffer.concat([
    signature,
    chunk('IHDR', header),
    ...Object.entries(texts).map(([keyword, text]) => textChunk(keyword, text)),
    chunk('IDAT', pixels),
    chunk('IEND', Buffer.alloc(0))
  ])
}

/** The texts of a PNG by keyword; empty if the bytes are no PNG. */
export function readPngTexts (bytes: Buffer): Record<string, string> {
  const texts: Record<string, string> = {}
  if (!bytes.subarray(0, 8).equals(signature)) return texts
  for (let offset = 8; offset + 12 <= bytes.length;) {
    const length = bytes.readUInt32BE(offset)
    const type = bytes.toString('latin1', offset + 4, offset + 8)
    const data = bytes.subarray(offset + 8, offset + 8 + length)
    const end = data.indexOf(0)
    if (type === 'tEXt') texts[data.toString('latin1', 0, end)] = data.toString('latin1', end + 1)
    // an uncompressed iTXt: keyword, two flags, language, translated keyword, text
    if (type === 'iTXt') texts[data.toString('latin1', 0, end)] = data.subarray(afterZeros(data, end + 3)).toString()
    offset += length + 12
  }
  return texts
}

function afterZeros (data: Buffer, from: number): number {
  return data.indexOf(0, data.indexOf(0, from) + 1) + 1
}

/** Each row as its difference to the row above, which compresses gradients well and costs little. */
function filterRows ({ width, height, data }: Bitmap): Buffer {
  const stride = width * 3
  const rows = Buffer.allocUnsafe((stride + 1) * height)
  for (let row = 0; row < height; row += 1) {
    const to = row * (stride + 1)
    const from = row * stride
    rows[to] = filterUp
    for (let index = 0; index < stride; index += 1) {
      const above = row === 0 ? 0 : data[from + index - stride] as number
      rows[to + 1 + index] = (data[from + index] as number) - above
    }
  }
  return rows
}

/** Latin-1 where that holds the text, else UTF-8, as Pillow chooses. */
function textChunk (keyword: string, text: string): Buffer {
  const isLatin = [...text].every(character => (character.codePointAt(0) as number) < 256)
  return isLatin
    ? chunk('tEXt', Buffer.concat([Buffer.from(`${keyword}\0`, 'latin1'), Buffer.from(text, 'latin1')]))
    : chunk('iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text)]))
}

function chunk (type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const frame = Buffer.alloc(4)
  frame.writeUInt32BE(data.length)
  const check = Buffer.alloc(4)
  check.writeUInt32BE(crc32(body))
  return Buffer.concat([frame, body, check])
}

/** Marks a user comment as UTF-16, which is what A1111 writes. */
const unicodeMark = Buffer.from('UNICODE\0', 'latin1')
const userCommentTag = 0x9286
const exifPointerTag = 0x8769
const undefinedType = 7
const longType = 4

/** An EXIF block (big endian, without the "Exif" marker) that holds nothing but a user comment. */
export function writeUserComment (text: string): Buffer {
  const comment = Buffer.concat([unicodeMark, Buffer.from(text, 'utf16le').swap16()])
  const header = Buffer.from([0x4D, 0x4D, 0, 0x2A, 0, 0, 0, 8])
  const exifAt = 8 + 18
  const commentAt = exifAt + 18
  return Buffer.concat([
    header,
    directory(exifPointerTag, longType, 1, exifAt),
    directory(userCommentTag, undefinedType, comment.length, commentAt),
    comment
  ])
}

/** The user comment of an EXIF block; empty if there is none. */
export function readUserComment (exif: Buffer): string {
  const markAt = exif.indexOf(unicodeMark)
  if (markAt === -1) return ''
  const text = exif.subarray(markAt + unicodeMark.length)
  const even = Buffer.from(text.subarray(0, text.length - text.length % 2))
  return withoutTrailing(even.swap16().toString('utf16le'), '\0')
}

/** Puts an EXIF block into a JPEG, right behind its first marker. */
export function insertIntoJpeg (jpeg: Buffer, exif: Buffer): Buffer {
  const segment = Buffer.alloc(4)
  segment.writeUInt16BE(0xFFE1, 0)
  segment.writeUInt16BE(exif.length + 8, 2)
  return Buffer.concat([jpeg.subarray(0, 2), segment, Buffer.from('Exif\0\0', 'latin1'), exif, jpeg.subarray(2)])
}

/** Puts an EXIF block into a simple WebP, which takes its extended form for that. */
export function insertIntoWebp (webp: Buffer, exif: Buffer, size: { width: number, height: number }): Buffer {
  const extended = Buffer.alloc(18)
  extended.write('VP8X', 0, 'latin1')
  extended.writeUInt32LE(10, 4)
  extended[8] = 0b0000_1000
  extended.writeUIntLE(size.width - 1, 12, 3)
  extended.writeUIntLE(size.height - 1, 15, 3)
  const padding = Buffer.alloc(exif.length % 2)
  const head = Buffer.alloc(8)
  head.write('EXIF', 0, 'latin1')
  head.writeUInt32LE(exif.length, 4)
  const file = Buffer.concat([webp.subarray(0, 12), extended, webp.subarray(12), head, exif, padding])
  file.writeUInt32LE(file.length - 8, 4)
  return file
}

/** An image file directory with a single entry and none behind it. */
function directory (tag: number, type: number, count: number, value: number): Buffer {
  const bytes = Buffer.alloc(18)
  bytes.writeUInt16BE(1, 0)
  bytes.writeUInt16BE(tag, 2)
  bytes.writeUInt16BE(type, 4)
  bytes.writeUInt32BE(count, 6)
  bytes.writeUInt32BE(value, 10)
  return bytes
}

/** The infotext inside an image and whatever other texts a PNG carries. */
export async function readImageText (bytes: Buffer): Promise<{ infotext: string, items: Record<string, string> }> {
  const { parameters, ...items } = readPngTexts(bytes)
  if (parameters !== undefined) return { infotext: parameters, items }
  const { exif } = await sharp(bytes).metadata()
  return { infotext: exif === undefined ? '' : readUserComment(exif), items }
}
