import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { parentPort } from 'node:worker_threads'

/** Request to the thread. */
export interface HashRequest {
  readonly path: string
}

/** Its answer, or `problem`. */
export interface FileHashes {
  /** Lower case. */
  readonly sha256: string
  /** Of a safetensors file: first 12 digits of the SHA-256 of all behind the header. */
  readonly autoV3: string | null
  /** Of the file that was read, equal before and after. */
  readonly size: number
  readonly modifiedAt: number
}

export type HashAnswer = { readonly hashes: FileHashes } | { readonly problem: string }

/** Also while it is being downloaded. */
const safetensorsName = /\.(safetensors|sft)(\.[0-9a-f]{8}(-\d+)?\.part)?$/i
const chunkBytes = 4 * 1024 * 1024

async function hashFile (path: string): Promise<FileHashes> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const before = await file.stat()
    const whole = createHash('sha256')
    const tensors = createHash('sha256')
    const chunk = Buffer.allocUnsafeSlow(Math.min(chunkBytes, before.size + 1))
    let start: number | null = null
    let position = 0
    for (;;) {
      const { bytesRead } = await file.read(chunk, 0, chunk.length, position)
      if (bytesRead === 0) break
      const bytes = chunk.subarray(0, bytesRead)
      if (position === 0 && safetensorsName.test(path) && bytesRead >= 8) {
        start = 8 + Number(bytes.readBigUInt64LE())
        if (start > before.size) start = null
      }
      whole.update(bytes)
      if (start !== null && position + bytesRead > start) tensors.update(bytes.subarray(Math.max(0, start - position)))
      position += bytesRead
    }
    const after = await file.stat()
    if (after.mtimeMs !== before.mtimeMs || after.size !== position) throw new Error('the file changed while it was read')
    const autoV3 = start === null ? null : tensors.digest('hex').slice(0, 12)
    return { sha256: whole.digest('hex'), autoV3, size: position, modifiedAt: after.mtimeMs }
  } finally {
    await file.close()
  }
}

parentPort?.on('message', ({ path }: HashRequest) => {
  hashFile(path).then(
    hashes => parentPort?.postMessage({ hashes } satisfies HashAnswer),
    (error: unknown) => {
      const problem = error instanceof Error ? error.message : String(error)
      parentPort?.postMessage({ problem } satisfies HashAnswer)
    })
})
