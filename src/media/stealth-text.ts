import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import sharp from '../lib/sharp.ts'

const unzipped = promisify<Buffer, object, Buffer>(gunzip)

/**
 * Text in the lowest bits of the pixels, which outlives programs that drop a PNG's texts: NovelAI writes it, and an
 * extension of A1111 (ashen-sensored/sd_webui_stealth_pnginfo). Columns from left to right, each from top to bottom;
 * one bit of alpha a pixel, or one of each of red, green and blue. Fifteen letters say which, 32 bits how many bits
 * follow.
 */
const marks = [
  { mark: 'stealth_pnginfo', channels: [3], packed: false },
  { mark: 'stealth_pngcomp', channels: [3], packed: true },
  { mark: 'stealth_rgbinfo', channels: [0, 1, 2], packed: false },
  { mark: 'stealth_rgbcomp', channels: [0, 1, 2], packed: true }
] as const

const markBytes = 15
const headBytes = markBytes + 4
/** Longest text, packed and unpacked, in bytes. */
const longestText = 1_048_576

export interface StealthImage {
  readonly image: Buffer | string
  readonly width: number
  readonly height: number
  /** Larger pictures are not decoded. */
  readonly maxPixels: number
}

/** Null if there is none. */
export async function readStealthText ({ image, width, height, maxPixels }: StealthImage): Promise<string | null> {
  if (width * height > maxPixels || height === 0) return null

  /** The first bytes in the bits of these channels. */
  async function bytesOf (channels: readonly number[], count: number): Promise<Buffer | null> {
    const columns = Math.ceil(count * 8 / channels.length / height)
    if (columns > width) return null
    const { data, info } = await sharp(image, { limitInputPixels: maxPixels })
      .extract({ left: 0, top: 0, width: columns, height })
      .ensureAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true })
    return info.channels === 4 ? bitsOf(data, { columns, height, channels, count }) : null
  }

  try {
    for (const channels of [[3], [0, 1, 2]]) {
      const head = await bytesOf(channels, headBytes)
      const found = marks.find(({ mark }) => head?.toString('latin1', 0, markBytes) === mark)
      if (head === null || found === undefined || found.channels.length !== channels.length) continue
      const length = Math.floor(head.readUInt32BE(markBytes) / 8)
      if (length === 0 || length > longestText) return null
      const text = (await bytesOf(channels, headBytes + length))?.subarray(headBytes)
      if (text === undefined) return null
      return (found.packed ? await unzipped(text, { maxOutputLength: longestText }) : text).toString('utf8')
    }
  } catch {
    // a broken image or text holds nothing
  }
  return null
}

function bitsOf (
  pixels: Buffer, { columns, height, channels, count }: {
    readonly columns: number, readonly height: number, readonly channels: readonly number[], readonly count: number
  }
): Buffer {
  const bytes = Buffer.alloc(count)
  let bit = 0
  for (let column = 0; column < columns; column++) {
    for (let row = 0; row < height; row++) {
      const at = (row * columns + column) * 4
      for (const channel of channels) {
        if (bit >= count * 8) return bytes
        if (((pixels[at + channel] ?? 0) & 1) === 1) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7))
        bit += 1
      }
    }
  }
  return bytes
}
