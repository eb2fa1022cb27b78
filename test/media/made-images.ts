import { crc32, deflateSync, gzipSync } from 'node:zlib'
import sharp from 'sharp'

/** Small images with texts at every position where programs write them. */
export const canvas = (width = 40, height = 24) => sharp({ create: { width, height, channels: 3, background: '#36a' } })

const plainPng = await canvas().png().toBuffer()
const headerEnd = 33

function chunk (type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const bytes = Buffer.alloc(body.length + 8)
  bytes.writeUInt32BE(data.length, 0)
  body.copy(bytes, 4)
  bytes.writeUInt32BE(crc32(body), body.length + 4)
  return bytes
}

export function pngWithChunks (...chunks: Array<[type: string, data: Buffer]>): Buffer {
  const own = chunks.map(one => chunk(...one))
  return Buffer.concat([plainPng.subarray(0, headerEnd), ...own, plainPng.subarray(headerEnd)])
}

/** Like `pngWithChunks`, with the chunks behind the pixels. */
export function pngWithLateChunks (...chunks: Array<[type: string, data: Buffer]>): Buffer {
  const end = plainPng.length - 12
  return Buffer.concat([plainPng.subarray(0, end), ...chunks.map(one => chunk(...one)), plainPng.subarray(end)])
}

export function pngWithTexts (texts: Readonly<Record<string, string>>): Buffer {
  return pngWithChunks(...Object.entries(texts).map(([keyword, text]): [string, Buffer] =>
    ['iTXt', Buffer.concat([Buffer.from(`${keyword}\0\0\0\0\0`, 'latin1'), Buffer.from(text)])]))
}

/** The kinds of text chunk in a PNG. */
export const pngTexts: Readonly<Record<string, (text: string) => Buffer>> = {
  'PNG: tEXt': text => pngWithChunks(['tEXt', Buffer.from(`parameters\0${text}`, 'latin1')]),
  'PNG: zTXt': text => pngWithChunks(['zTXt', Buffer.concat([Buffer.from('parameters\0\0', 'latin1'), deflateSync(Buffer.from(text, 'latin1'))])]),
  'PNG: iTXt': text => pngWithTexts({ parameters: text }),
  'PNG: iTXt, compressed': text => pngWithChunks(['iTXt', Buffer.concat([Buffer.from('parameters\0\x01\0\0\0', 'latin1'), deflateSync(Buffer.from(text))])])
}

export interface ExifOptions {
  readonly order?: 'MM' | 'II'
  /** The first bytes of the comment, which name its encoding. */
  readonly head?: string
  /** Whether the comment is in the first directory, as Pillow writes it, instead of EXIF's own. */
  readonly atTop?: boolean
  readonly tag?: number
}

/** An EXIF block without its marker. */
export function exifBlock (text: Buffer, { order = 'MM', head = '', atTop = false, tag = 0x9286 }: ExifOptions = {}): Buffer {
  const comment = Buffer.concat([Buffer.from(head, 'latin1'), text])
  const tiff = Buffer.alloc(44)
  const short = (value: number, at: number) => order === 'MM' ? tiff.writeUInt16BE(value, at) : tiff.writeUInt16LE(value, at)
  const long = (value: number, at: number) => order === 'MM' ? tiff.writeUInt32BE(value, at) : tiff.writeUInt32LE(value, at)
  const entry = (at: number, name: number, type: number, count: number, value: number) => {
    short(1, at)
    short(name, at + 2)
    short(type, at + 4)
    long(count, at + 6)
    long(value, at + 10)
  }
  tiff.write(order, 'latin1')
  short(42, 2)
  long(8, 4)
  if (!atTop) entry(8, 0x8769, 4, 1, 26)
  entry(atTop ? 8 : 26, tag, tag === 0x9286 ? 7 : 2, comment.length, 44)
  return Buffer.concat([tiff, comment])
}

export function jpegWith (marker: number, data: Buffer, jpeg: Buffer): Buffer {
  const head = Buffer.from([0xff, marker, 0, 0])
  head.writeUInt16BE(data.length + 2, 2)
  return Buffer.concat([jpeg.subarray(0, 2), head, data, jpeg.subarray(2)])
}

export async function jpegWithExif (exif: Buffer): Promise<Buffer> {
  return jpegWith(0xe1, Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif]), await canvas().jpeg().toBuffer())
}

export function pngWithExif (exif: Buffer): Buffer {
  return pngWithChunks(['eXIf', exif])
}

/** An extended WebP: its flags announce EXIF. */
export async function webpWithExif (exif: Buffer): Promise<Buffer> {
  const bytes = await canvas().webp().withExif({ IFD0: { Software: 'x' } }).toBuffer()
  const at = bytes.indexOf('EXIF', 12, 'latin1')
  const size = Buffer.alloc(8)
  size.write('EXIF', 'latin1')
  size.writeUInt32LE(exif.length, 4)
  const padding = Buffer.alloc(exif.length % 2)
  const whole = Buffer.concat([bytes.subarray(0, at), size, exif, padding])
  whole.writeUInt32LE(whole.length - 8, 4)
  return whole
}

export async function gifWithComment (text: string): Promise<Buffer> {
  const gif = await canvas().gif().toBuffer()
  const table = ((gif[10] ?? 0) & 0x80) === 0 ? 0 : 3 * 2 ** (((gif[10] ?? 0) & 7) + 1)
  const bytes = Buffer.from(text)
  const blocks: Buffer[] = []
  for (let at = 0; at < bytes.length; at += 255) {
    const part = bytes.subarray(at, at + 255)
    blocks.push(Buffer.from([part.length]), part)
  }
  const end = 13 + table
  const comment = Buffer.concat([Buffer.from([0x21, 0xfe]), ...blocks, Buffer.from([0])])
  return Buffer.concat([gif.subarray(0, end), comment, gif.subarray(end)])
}

export type StealthMark = 'stealth_pnginfo' | 'stealth_pngcomp' | 'stealth_rgbinfo' | 'stealth_rgbcomp'

/** An image whose lowest bits contain the text, column by column. */
export async function stealthPng (text: string, mark: StealthMark): Promise<Buffer> {
  const [width, height] = [96, 64]
  const body = mark.endsWith('comp') ? gzipSync(text) : Buffer.from(text)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length * 8)
  const bits = [...Buffer.concat([Buffer.from(mark), length, body])]
    .flatMap(byte => [7, 6, 5, 4, 3, 2, 1, 0].map(bit => (byte >> bit) & 1))
  const pixels = Buffer.alloc(width * height * 4, 255)
  const channels = mark.includes('rgb') ? [0, 1, 2] : [3]
  let next = 0
  for (let column = 0; column < width; column++) {
    for (let row = 0; row < height; row++) {
      for (const channel of channels) pixels[(row * width + column) * 4 + channel] = 254 | (bits[next++] ?? 1)
    }
  }
  return await sharp(pixels, { raw: { width, height, channels: 4 } }).png().toBuffer()
}
