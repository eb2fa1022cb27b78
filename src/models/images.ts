import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { EgressGuard } from '../egress/guard.ts'
import { readWhole } from '../lib/chunks.ts'
import { withDeadline } from '../lib/deadline.ts'
import { messageOf, ServiceError } from '../lib/errors.ts'
import { imageFormatOf, imageFormats } from '../media/image-header.ts'
import type { CivitaiImage, Model, ModelFile } from '../model-facts/facts.ts'
import { openInside } from './folders.ts'
import { openSource } from './receive-download.ts'

export interface ImageContent {
  /** By content, whatever the name says. */
  readonly mime: string
  readonly bytes: Buffer
  readonly modifiedAt: Date
}

/** Limit of previews, in bytes. */
export const maxImageBytes = 32 * 1024 * 1024

/**
 * A preview beside a model.
 * @throws ServiceError `image_not_found`, also for a file that is no image, whatever its name
 */
export async function readImage (model: ModelFile, name: string): Promise<ImageContent> {
  const file = await openInside(model.root, dirname(model.absolutePath), name)
  if (file === null) throw imageNotFound()
  try {
    const { size, mtime } = await file.stat()
    if (size > maxImageBytes) throw imageNotFound()
    return imageOf(await file.readFile(), mtime)
  } finally {
    await file.close()
  }
}

/** @throws ServiceError `image_not_found` unless the bytes begin as PNG, JPEG or WebP do */
export function imageOf (bytes: Buffer, modifiedAt: Date): ImageContent {
  const format = imageFormatOf(bytes.subarray(0, 16))
  if (format === null) throw imageNotFound()
  return { mime: imageFormats[format].mime, bytes, modifiedAt }
}

export function imageNotFound (): ServiceError {
  return new ServiceError('image_not_found', 'The model has no such picture.')
}

/** A preview of a model: a file beside it, or one of Civitai's. */
export type Image =
  | { readonly from: 'folder', readonly file: ModelFile, readonly name: string }
  | { readonly from: 'civitai', readonly image: CivitaiImage }

/** The previews of a model in the order of their index: the owner's own, then Civitai's. */
export function imagesOf ({ files, facts }: Model): Image[] {
  const own = files.find(({ previews }) => previews.length > 0)
  return [
    ...(own?.previews ?? []).map(name => ({ from: 'folder' as const, file: own as ModelFile, name })),
    ...(facts.civitai?.images ?? []).map(image => ({ from: 'civitai' as const, image }))
  ]
}

/** Hosts that serve Civitai's images. */
const imageHosts = ['image.civitai.com', 'imagecache.civitai.com', 'image-b2.civitai.com']
const timeoutMs = 30_000

/** Images of Civitai, fetched once and then kept, so that no viewer's browser has to ask there. */
export interface CivitaiImages {
  /** @throws ServiceError `civitai_unreachable`, or `image_not_found` for a file that is no image or lies elsewhere */
  read (url: string): Promise<ImageContent>
}

/**
 *
 * @param folder for the kept images
 * @param baseUrl of the API: a mirror can serve images itself
 */
export function createCivitaiImages (
  folder: string, baseUrl: string, guard: Pick<EgressGuard, 'client'>
): CivitaiImages {
  const ownOrigin = new URL(baseUrl).origin

  /** Addresses come from others, so the host is compared as a whole. */
  function isAllowed (url: URL): boolean {
    return url.origin === ownOrigin ||
      (url.protocol === 'https:' && url.port === '' && imageHosts.includes(url.hostname))
  }

  async function fetchImage (url: URL): Promise<ImageContent> {
    try {
      return await withDeadline(timeoutMs, [], async signal => {
        const { answer } = await openSource(guard, {
          url, authorization: null, from: 0, trustedOrigins: [ownOrigin], signal
        })
        try {
          if (answer.statusCode !== 200) throw imageNotFound()
          return imageOf(await readWhole(answer.body, maxImageBytes, imageNotFound), new Date())
        } finally {
          answer.body.destroy()
        }
      })
    } catch (error) {
      if (error instanceof ServiceError) throw error
      throw new ServiceError('civitai_unreachable', `The picture cannot be fetched just now: ${messageOf(error)}.`, {},
        { cause: error })
    }
  }

  return {
    async read (text) {
      const url = new URL(text)
      if (!isAllowed(url)) throw imageNotFound()
      const path = join(folder, createHash('sha256').update(text).digest('hex'))
      const kept = await readFile(path).catch(() => null)
      if (kept !== null) return imageOf(kept, (await stat(path)).mtime)
      const picture = await fetchImage(url)
      const draft = `${path}.${randomUUID()}`
      try {
        await mkdir(folder, { recursive: true })
        await writeFile(draft, picture.bytes)
        await rename(draft, path)
      } catch {
        // A full disk is no reason to show nothing.
        await rm(draft, { force: true })
      }
      return picture
    }
  }
}
