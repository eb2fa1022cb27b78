import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

/** Larger files are neither pointers nor pages, in bytes. */
const largestText = 8 * 1024 * 1024
const headBytes = 1024

/**
 * Why a file with a model's name is none: what a download or a clone left in its place. Null for what may be one.
 * @throws Error where it cannot be read
 */
export async function brokenReason (path: string, size: number): Promise<string | null> {
  if (size === 0) return 'the file is empty; download it again'
  if (size > largestText) return null
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0)
    const head = buffer.toString('latin1', 0, bytesRead)
    if (head.startsWith('version https://git-lfs.github.com/spec/')) {
      return 'the file is a pointer of Git LFS; get the model itself with "git lfs pull"'
    }
    return /^(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html|head|body)[\s>]/i.test(head)
      ? 'the file is a web page, such as one to log in at; download the model again'
      : null
  } finally {
    await file.close()
  }
}
