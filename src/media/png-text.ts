import { inflateSync } from 'node:zlib'
import type { ByteSource } from './byte-source.ts'

/** Texts longer than this are no generation parameters, in bytes. */
const longestText = 1_048_576
const mostChunks = 10_000
const signatureBytes = 8

/** The text under a keyword in a PNG's tEXt, zTXt or iTXt chunks; null when there is none. Pixels are not read. */
export async function readPngText (source: ByteSource, keyword: string): Promise<string | null> {
  let position = signatureBytes
  for (let chunk = 0; chunk < mostChunks; chunk++) {
    const head = await source.read(position, 8)
    if (head.length < 8) return null
    const length = head.readUInt32BE(0)
    const type = head.toString('latin1', 4, 8)
    if (type === 'IEND') return null
    if (['tEXt', 'zTXt', 'iTXt'].includes(type) && length <= longestText) {
      const text = textOf(type, await source.read(position + 8, length), keyword)
      if (text !== null) return text
    }
    position += length + 12
  }
  return null
}

/** Layouts: PNG specification, third edition, §11.3.3. */
function textOf (type: string, data: Buffer, keyword: string): string | null {
  const end = data.indexOf(0)
  if (end === -1 || data.toString('latin1', 0, end) !== keyword) return null
  const rest = data.subarray(end + 1)
  if (type === 'tEXt') return rest.toString('latin1')
  if (type === 'zTXt') return inflated(rest.subarray(1))?.toString('latin1') ?? null
  const language = rest.indexOf(0, 2)
  const translation = language === -1 ? -1 : rest.indexOf(0, language + 1)
  if (translation === -1) return null
  const text = rest.subarray(translation + 1)
  return (rest[0] === 1 ? inflated(text) : text)?.toString('utf8') ?? null
}

function inflated (data: Buffer): Buffer | null {
  try {
    return inflateSync(data, { maxOutputLength: longestText })
  } catch {
    return null
  }
}
