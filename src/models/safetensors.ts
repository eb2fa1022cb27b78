import type { FileHandle } from 'node:fs/promises'
import { objectOf, type JsonObject } from '../a1111/json-values.ts'
import { parseJson } from '../json/parse.ts'

/** The limit of the format's own reader, in bytes. */
const longestHeader = 100_000_000
const headerBounds = { depth: 32, values: 3_000_000 }

export interface SafetensorsHeader {
  /** What was written about the file when it was made; values are text. */
  readonly metadata: JsonObject
  readonly tensorNames: readonly string[]
}

/**
 * The header of a safetensors file, without the rest: eight bytes of length (little endian), then JSON
 * (huggingface/safetensors, "Format").
 * @returns null for what is none
 */
export async function readSafetensorsHeader (file: FileHandle, size: number): Promise<SafetensorsHeader | null> {
  const head = Buffer.alloc(8)
  if ((await file.read(head, 0, 8, 0)).bytesRead < 8) return null
  const length = Number(head.readBigUInt64LE())
  if (length > longestHeader || length > size - 8 || length < 2) return null
  const bytes = Buffer.alloc(length)
  if ((await file.read(bytes, 0, length, 8)).bytesRead < length) return null
  try {
    const header = objectOf(parseJson('The header', bytes, headerBounds))
    if (header === null) return null
    return {
      metadata: objectOf(header.__metadata__) ?? {},
      tensorNames: Object.keys(header).filter(name => name !== '__metadata__')
    }
  } catch {
    return null
  }
}
