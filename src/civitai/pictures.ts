import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf, ServiceError } from '../errors.ts'
import { readWhole } from '../lib/chunks.ts'
import { withDeadline } from '../lib/deadline.ts'
import { longestPicture, noPicture, pictureOf, type PictureContent } from '../models/read-picture.ts'
import { openSource } from '../downloads/open-source.ts'
import type { EgressGuard } from '../egress/guard.ts'

/** Hosts that Civitai serves pictures from. */
const pictureHosts = ['image.civitai.com', 'imagecache.civitai.com', 'image-b2.civitai.com']
const timeoutMs = 30_000

/** Pictures of Civitai, fetched once and then kept, so that no viewer's browser has to ask there. */
export interface CivitaiPictures {
  /** @throws ServiceError `civitai_unreachable`, or `image_not_found` for what is no picture or lies elsewhere */
  read (url: string): Promise<PictureContent>
}

/**
 * @param folder where they are kept
 * @param baseUrl of the API: a mirror may serve pictures itself
 */
export function createCivitaiPictures (
  folder: string, baseUrl: string, guard: Pick<EgressGuard, 'client'>
): CivitaiPictures {
  const ownOrigin = new URL(baseUrl).origin

  /** Addresses come from others, so the host is compared as a whole. */
  function isAllowed (url: URL): boolean {
    return url.origin === ownOrigin ||
      (url.protocol === 'https:' && url.port === '' && pictureHosts.includes(url.hostname))
  }

  async function fetchPicture (url: URL): Promise<PictureContent> {
    try {
      return await withDeadline(timeoutMs, [], async signal => {
        const { answer } = await openSource(guard, {
          url, authorization: null, from: 0, trustedOrigins: [ownOrigin], signal
        })
        try {
          if (answer.statusCode !== 200) throw noPicture()
          return pictureOf(await readWhole(answer.body, longestPicture, noPicture), new Date())
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
      if (!isAllowed(url)) throw noPicture()
      const path = join(folder, createHash('sha256').update(text).digest('hex'))
      const kept = await readFile(path).catch(() => null)
      if (kept !== null) return pictureOf(kept, (await stat(path)).mtime)
      const picture = await fetchPicture(url)
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
