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
  /** Bytes of a whole file: where its last tensor ends. Null where the places of its tensors make no sense. */
  readonly end: number | null
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
    const tensors = Object.entries(header).filter(([name]) => name !== '__metadata__').map(([, tensor]) => tensor)
    return {
      end: endOf(tensors, 8 + length),
      metadata: objectOf(header.__metadata__) ?? {},
      tensorNames: Object.keys(header).filter(name => name !== '__metadata__')
    }
  } catch {
    return null
  }
}

function endOf (tensors: readonly unknown[], begin: number): number | null {
  let end = begin
  for (const tensor of tensors) {
    const offsets = objectOf(tensor)?.data_offsets
    const [from, to] = Array.isArray(offsets) ? offsets as unknown[] : []
    if (typeof from !== 'number' || typeof to !== 'number' || !(from >= 0 && to >= from)) return null
    end = Math.max(end, begin + to)
  }
  return end
}
