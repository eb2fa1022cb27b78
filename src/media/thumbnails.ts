import { randomUUID } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import sharp from 'sharp'
import { ServiceError } from '../errors.ts'
import { createSemaphore } from '../lib/semaphore.ts'
import { hasCode, prepareDraftFolder, storing } from './file-sink.ts'
import { isOutputName } from './names.ts'
import { describe, noSuchImage, readPlainFile, type OpenOutput, type OutputFiles } from './output-files.ts'

/** Small pictures of outputs, made when they are first asked for and then kept. */
export interface Thumbnails {
  /**
   * The thumbnail of an output, a WebP of at most 320 by 320 pixels.
   * @throws ServiceError `image_not_found` where there is no such output, `invalid_image` for one that cannot be drawn
   */
  openThumbnail (name: string): Promise<OpenOutput>
  /** Removes it; one that is not there is no error. */
  removeThumbnail (name: string): Promise<void>
}

/** Longest side in pixels. */
const longestSide = 320
const quality = 78
/** Outputs are drawn by so many at a time; each holds its pixels in memory. */
const atOnce = 2
/** Outputs of more pixels get no thumbnail. */
const mostPixels = 268_000_000

/**
 * Thumbnails in a folder of their own, under the names of their outputs.
 * @param outputs what thumbnails are made of, and of nothing else
 */
export async function createThumbnails (
  folder: string, outputs: Pick<OutputFiles, 'openOutput'>
): Promise<Thumbnails> {
  const drafts = join(folder, '.drafts')
  await prepareDraftFolder(drafts)
  const making = new Map<string, Promise<void>>()
  const drawing = createSemaphore(atOnce)
  const pathOf = (name: string) => join(folder, `${name}.webp`)

  async function draw (name: string): Promise<void> {
    const output = await outputs.openOutput(name)
    const picture = await pictureOf(output)
    const draft = join(drafts, randomUUID())
    await storing(async () => {
      const file = await open(draft, 'wx', 0o640)
      try {
        await file.writeFile(picture)
      } finally {
        await file.close()
      }
      await rename(draft, pathOf(name))
    }).finally(async () => { await rm(draft, { force: true }) })
    // The output may have been removed meanwhile, and its thumbnail before this one came.
    const still = await outputs.openOutput(name).catch(async error => {
      await rm(pathOf(name), { force: true })
      throw error
    })
    await still.close()
  }

  /** Whoever asks for a thumbnail that is being made waits for that one. */
  async function make (name: string): Promise<void> {
    const made = making.get(name) ??
      drawing.run(async () => { await draw(name) }).finally(() => { making.delete(name) })
    making.set(name, made)
    await made
  }

  async function openMade (name: string): Promise<OpenOutput | null> {
    try {
      return await describe(await open(pathOf(name), readPlainFile))
    } catch (error) {
      if (hasCode(error, 'ENOENT')) return null
      throw error
    }
  }

  return {
    async openThumbnail (name) {
      if (!isOutputName(name)) throw noSuchImage()
      const made = await openMade(name)
      if (made !== null) return made
      await make(name)
      const fresh = await openMade(name)
      if (fresh === null) throw noSuchImage()
      return fresh
    },
    async removeThumbnail (name) {
      if (isOutputName(name)) await rm(pathOf(name), { force: true })
    }
  }
}

/** Of a video there is a sign, as nothing here decodes one. */
async function pictureOf (output: OpenOutput): Promise<Buffer> {
  if (!output.mime.startsWith('video/')) return await small(await buffer(output.stream()))
  await output.close()
  return await small(Buffer.from(videoSign))
}

const videoSign = `<svg xmlns="http://www.w3.org/2000/svg" width="320" height="320">
  <rect width="320" height="320" fill="#22262e"/><circle cx="160" cy="160" r="64" fill="none" stroke="#fff" stroke-width="8"/>
  <path d="M142 126l52 34-52 34z" fill="#fff"/></svg>`

/** Runs in the threads of the decoder, not in the event loop. */
async function small (picture: Buffer): Promise<Buffer> {
  try {
    return await sharp(picture, { limitInputPixels: mostPixels })
      .rotate()
      .resize({ width: longestSide, height: longestSide, fit: 'inside', withoutEnlargement: true })
      .webp({ quality })
      .toBuffer()
  } catch (error) {
    throw new ServiceError('invalid_image', 'No thumbnail can be made of this image.', {}, { cause: error })
  }
}
