import { promisify } from 'node:util'
import { inflate } from 'node:zlib'
import type { ByteSource } from './byte-source.ts'
import { utf8OrLatin1 } from './exif-texts.ts'

const inflated = promisify<Buffer, object, Buffer>(inflate)

/** Texts longer than this are no generation parameters, in bytes. */
const longestText = 1_048_576
const mostChunks = 10_000
/** A picture has few texts; more are there to cost time. */
const mostTexts = 64
const signatureBytes = 8

/**
 * The texts in a PNG's tEXt, zTXt and iTXt chunks by keyword, the first of each. Pixels are not read.
 *
 * sharp's `metadata().comments` does not replace this (0.35.5): it misses texts behind the pixels, breaks Latin-1,
 * which is what tEXt and zTXt contain by the specification, ends a text at a NUL, and inflates far larger zTXt chunks.
 */
export async function readPngTexts (source: ByteSource): Promise<Map<string, string>> {
  const texts = new Map<string, string>()
  let position = signatureBytes
  let read = 0
  for (let chunk = 0; chunk < mostChunks && read < mostTexts; chunk++) {
    const head = await source.read(position, 8)
    if (head.length < 8) break
    const length = head.readUInt32BE(0)
    const type = head.toString('latin1', 4, 8)
    if (type === 'IEND') break
    if (['tEXt', 'zTXt', 'iTXt'].includes(type) && length <= longestText) {
      read += 1
      const found = await textOf(type, await source.read(position + 8, length))
      if (found !== null && !texts.has(found[0])) texts.set(...found)
    }
    position += length + 12
  }
  return texts
}

/** Layouts: PNG specification, third edition, §11.3.3. */
async function textOf (type: string, data: Buffer): Promise<[keyword: string, text: string] | null> {
  const end = data.indexOf(0)
  if (end === -1) return null
  const keyword = data.toString('latin1', 0, end)
  const rest = data.subarray(end + 1)
  const named = (text: Buffer | null): [string, string] | null => text === null ? null : [keyword, utf8OrLatin1(text)]
  if (type === 'tEXt') return named(rest)
  if (type === 'zTXt') return named(await unpacked(rest.subarray(1)))
  const language = rest.indexOf(0, 2)
  const translation = language === -1 ? -1 : rest.indexOf(0, language + 1)
  if (translation === -1) return null
  const text = rest.subarray(translation + 1)
  return named(rest[0] === 1 ? await unpacked(text) : text)
}

/** Null for what is broken or larger than any text. */
async function unpacked (data: Buffer): Promise<Buffer | null> {
  try {
    return await inflated(data, { maxOutputLength: longestText })
  } catch {
    return null
  }
}
