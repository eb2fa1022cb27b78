import type { ByteSource } from './byte-source.ts'
import { utf8OrLatin1 } from './exif-texts.ts'

/** Comments stand before the picture's data; what lies further back is not looked for. */
const headBytes = 4 * 1_048_576
const mostBlocks = 20_000

/** The comment of a GIF, in its extension blocks (GIF89a, §24); null where there is none. */
export async function readGifComment (source: ByteSource): Promise<string | null> {
  const bytes = await source.read(0, headBytes)
  let at = 13 + colourTable(bytes[10] ?? 0)
  for (let block = 0; block < mostBlocks && at < bytes.length; block++) {
    const kind = bytes[at]
    if (kind === 0x2c) {
      // an image: its own colour table, a byte for the code size, data
      const end = endOfBlocks(bytes, at + 10 + colourTable(bytes[at + 9] ?? 0) + 1)
      at = end
    } else if (kind === 0x21) {
      const end = endOfBlocks(bytes, at + 2)
      if (bytes[at + 1] === 0xfe) return textOfBlocks(bytes, at + 2, end)
      at = end
    } else return null
  }
  return null
}

/** Bytes of a colour table, by the byte that says whether there is one. */
function colourTable (flags: number): number {
  return (flags & 0x80) === 0 ? 0 : 3 * 2 ** ((flags & 7) + 1)
}

/** Where a chain of blocks, each with its length before it, is over. */
function endOfBlocks (bytes: Buffer, start: number): number {
  let at = start
  while (at < bytes.length && bytes[at] !== 0) at += 1 + (bytes[at] ?? 0)
  return at + 1
}

function textOfBlocks (bytes: Buffer, start: number, end: number): string {
  const parts: Buffer[] = []
  for (let at = start; at < end - 1;) {
    const next = at + 1 + (bytes[at] ?? 0)
    parts.push(bytes.subarray(at + 1, next))
    at = next
  }
  return utf8OrLatin1(Buffer.concat(parts)).replaceAll('\0', '').trim()
}

/** The comment of a JPEG, in its COM segment (ITU T.81, B.2.4.5); null where there is none. */
export async function readJpegComment (source: ByteSource): Promise<string | null> {
  let at = 2
  for (let segment = 0; segment < mostBlocks; segment++) {
    const head = await source.read(at, 4)
    if (head.length < 4 || head[0] !== 0xff || head[1] === 0xda || head[1] === 0xd9) return null
    const length = head.readUInt16BE(2)
    if (head[1] === 0xfe) return utf8OrLatin1(await source.read(at + 4, length - 2)).replaceAll('\0', '').trim()
    at += 2 + length
  }
  return null
}
