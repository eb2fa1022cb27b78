import type { FileHandle } from 'node:fs/promises'

/** Bytes that can be read at any place without having all of them in memory. */
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

/** Reads from an open file, which stays the caller's to close. */
export function fileSource (file: FileHandle, size: number): ByteSource {
  return {
    size,
    async read (position, length) {
      const wanted = Math.max(0, Math.min(length, size - position))
      const { buffer, bytesRead } = await file.read(Buffer.alloc(wanted), 0, wanted, position)
      return buffer.subarray(0, bytesRead)
    }
  }
}
