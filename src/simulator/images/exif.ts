import { withoutTrailing } from '../../lib/text.ts'

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

/** The user comment of an EXIF block; empty where there is none. */
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
