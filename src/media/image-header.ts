/** Bytes with random access, without having all of them in memory. */
export interface ByteSource {
  readonly size: number
  /** At most `length` bytes from `position` on; fewer at the end, none beyond it. */
  read (position: number, length: number): Promise<Buffer>
}

export function bufferSource (bytes: Buffer): ByteSource {
  return {
    size: bytes.length,
    read: async (position, length) => bytes.subarray(position, position + length)
  }
}

/** Reads bytes of a file from a position on, as `fs.read` does; how many. */
type ReadPart = (buffer: Buffer, offset: number, length: number, position: number) => Promise<number>

/** Reads from an open file; the client closes it. @param head the first bytes, which need not be read */
export function fileSource (read: ReadPart, size: number, head: Buffer = Buffer.alloc(0)): ByteSource {
  return {
    size,
    async read (position, length) {
      const wanted = Math.max(0, Math.min(length, size - position))
      if (position + wanted <= head.length) return head.subarray(position, position + wanted)
      const buffer = Buffer.alloc(wanted)
      return buffer.subarray(0, await read(buffer, 0, wanted, position))
    }
  }
}

/** The formats in and out: A1111 reads and writes them. */
export const imageFormats = {
  png: { mime: 'image/png', extension: 'png' },
  jpeg: { mime: 'image/jpeg', extension: 'jpg' },
  webp: { mime: 'image/webp', extension: 'webp' }
} as const

export type ImageFormat = keyof typeof imageFormats
export type ImageExtension = (typeof imageFormats)[ImageFormat]['extension']

/** Facts in the first bytes of an image, without decoding it. */
export interface ImageHeader {
  readonly format: ImageFormat
  /** Pixels; 0 only in a broken file. */
  readonly width: number
  readonly height: number
}

type Size = Pick<ImageHeader, 'width' | 'height'>

const pngSignature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Enough for every signature and for the size in PNG and WebP. */
const headBytes = 32
/** An image can have much metadata before its size, but not in endless pieces. */
const maxJpegSegments = 2000
/** Range of the end mark; cameras and editors append data behind it. */
const tailBytes = 65_536

/** The format by magic bytes; null for anything that is not PNG, JPEG or WebP. */
export function imageFormatOf (head: Buffer): ImageFormat | null {
  if (head.subarray(0, 8).equals(pngSignature)) return 'png'
  if (head.length > 2 && head.readUIntBE(0, 3) === 0xffd8ff) return 'jpeg'
  if (head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8, 12) === 'WEBP') return 'webp'
  return null
}

/** Format and size from the header; null if either is unknown. Reads a few bytes at a few positions. */
export async function readImageHeader (source: ByteSource): Promise<ImageHeader | null> {
  const head = await source.read(0, headBytes)
  const format = imageFormatOf(head)
  if (format === null) return null
  const size = format === 'png' ? pngSize(head) : format === 'webp' ? webpSize(head) : await jpegSize(source)
  return size === null ? null : { format, ...size }
}

/**
 * Whether the image reaches its end mark; a truncated one does not. Cameras and editors append whole videos behind it,
 * so if the tail has none, this searches from the beginning.
 */
export async function isWholeImage (source: ByteSource, format: ImageFormat): Promise<boolean> {
  if (format === 'webp') {
    const head = await source.read(0, 8)
    return head.length === 8 && head.readUInt32LE(4) + 8 <= source.size
  }
  const tail = await source.read(Math.max(0, source.size - tailBytes), tailBytes)
  if (format === 'jpeg') return tail.includes(jpegEnd) || await includesJpegEnd(source)
  return tail.includes('IEND', 0, 'latin1') || await reachesPngEnd(source)
}

const jpegEnd = Buffer.from([0xff, 0xd9])

async function includesJpegEnd (source: ByteSource): Promise<boolean> {
  for (let position = 0; position < source.size; position += tailBytes - 1) {
    if ((await source.read(position, tailBytes)).includes(jpegEnd)) return true
  }
  return false
}

const maxPngChunks = 100_000

async function reachesPngEnd (source: ByteSource): Promise<boolean> {
  let position = pngSignature.length
  for (let chunk = 0; chunk < maxPngChunks; chunk++) {
    const head = await source.read(position, 8)
    if (head.length < 8) return false
    if (head.toString('latin1', 4, 8) === 'IEND') return true
    position += head.readUInt32BE(0) + 12
  }
  return false
}

function pngSize (head: Buffer): Size | null {
  if (head.length < 24 || head.toString('latin1', 12, 16) !== 'IHDR') return null
  return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) }
}

/** Simple lossy, lossless and extended files each keep it elsewhere (WebP container specification). */
function webpSize (head: Buffer): Size | null {
  if (head.length < 30) return null
  const kind = head.toString('latin1', 12, 16)
  if (kind === 'VP8X') return { width: head.readUIntLE(24, 3) + 1, height: head.readUIntLE(27, 3) + 1 }
  if (kind === 'VP8L' && head[20] === 0x2f) {
    const bits = head.readUInt32LE(21)
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
  }
  if (kind === 'VP8 ' && head.readUIntBE(23, 3) === 0x9d012a) {
    return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff }
  }
  return null
}

/** Goes from segment to segment until the frame header, which follows all metadata (ITU T.81, B.1.1.4). */
async function jpegSize (source: ByteSource): Promise<Size | null> {
  let position = 2
  for (let segment = 0; segment < maxJpegSegments; segment++) {
    const bytes = await source.read(position, 9)
    if (bytes.length < 9 || bytes[0] !== 0xff) return null
    const marker = bytes.readUInt8(1)
    if (isFrameMarker(marker)) return { height: bytes.readUInt16BE(5), width: bytes.readUInt16BE(7) }
    if (marker === 0xff) position += 1 // a fill byte
    else if (marker === 0x01 || (marker >= 0xd0 && marker <= 0xd7)) position += 2 // without a length
    else if (marker === 0xd9 || marker === 0xda) return null
    else position += 2 + bytes.readUInt16BE(2)
  }
  return null
}

/** SOF0 to SOF15 without DHT, JPG and DAC, which share their range. */
function isFrameMarker (marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)
}
