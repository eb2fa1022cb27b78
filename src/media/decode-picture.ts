import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import sharp from 'sharp'
import { createSemaphore } from '../lib/semaphore.ts'
import type { Bitmap, BitmapRequest } from './bitmap-thread.ts'
import type { ReadableKind } from './picture-kinds.ts'

/** Pictures decoded at a time: each may take hundreds of MiB, and a thread that file access waits for as well. */
const atATime = 2
/** Longest time that a bitmap may take, in milliseconds. */
const bitmapMs = 30_000

const decoding = createSemaphore(atATime)

export interface Decoding {
  /** Bytes, or the path of a file. */
  readonly input: Buffer | string
  readonly kind: ReadableKind
  readonly mostPixels: number
}

/**
 * Decodes a picture to its last pixel, on other threads, and keeps none of them. What servers may not read comes back
 * as a PNG of its first frame, upright, with its transparency; null for PNG, JPEG and WebP, which go as they are.
 * @throws Error of the decoder for a picture that is broken or cut off
 */
export async function decodePicture ({ input, kind, mostPixels }: Decoding): Promise<Buffer | null> {
  return await decoding.run(async () => {
    if (kind === 'bmp') return await pngOfBitmap(typeof input === 'string' ? await readFile(input) : input)
    if (kind === 'png' || kind === 'jpeg' || kind === 'webp') {
      await decodeAll(input, { kind, mostPixels })
      return null
    }
    return await sharp(input, { limitInputPixels: mostPixels, failOn: 'error' }).autoOrient()
      .png({ compressionLevel: 3 }).toBuffer()
  })
}

async function decodeAll (
  input: Buffer | string, { kind, mostPixels }: Pick<Decoding, 'kind' | 'mostPixels'>
): Promise<void> {
  // one pixel of many, so that the decoder passes over all of them and nothing is kept
  const decode = async (failOn: 'error' | 'warning') => {
    await sharp(input, { limitInputPixels: mostPixels, failOn, sequentialRead: true })
      .resize({ width: 8, height: 8, fit: 'fill', kernel: 'nearest', fastShrinkOnLoad: false }).raw().toBuffer()
  }
  if (kind !== 'jpeg') return await decode('error')
  try {
    await decode('warning')
  } catch (error) {
    // libjpeg only warns where data is missing before an end mark; its other warnings, as of stray bytes, are harmless
    if (error instanceof Error && /premature end/i.test(error.message)) throw error
    await decode('error')
  }
}

/** The thread is `.ts` where sources run as they are, `.js` where they were built. */
const threadUrl = new URL(`./bitmap-thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)

/** sharp reads no bitmaps. */
async function pngOfBitmap (bytes: Buffer): Promise<Buffer> {
  const thread = new Worker(threadUrl, { workerData: { bytes } satisfies BitmapRequest })
  const overdue = setTimeout(() => { thread.terminate().catch(() => {}) }, bitmapMs)
  try {
    const ended = once(thread, 'exit').then(() => { throw new Error('The bitmap took too long.') })
    const [{ width, height, pixels }] = await Promise.race([once(thread, 'message') as Promise<[Bitmap]>, ended])
    return await sharp(pixels, { raw: { width, height, channels: 4 } }).png({ compressionLevel: 3 }).toBuffer()
  } finally {
    clearTimeout(overdue)
    await thread.terminate()
  }
}
