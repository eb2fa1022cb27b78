import type { DeletedImages, GalleryFilter, GalleryPage, Message, Zip } from './api-types.ts'
import { ask, pathOf } from './api.ts'
import { plural } from './format.ts'
import { queryOf } from './query.ts'

/** The routes of the gallery, one function each. */

const path = '/api/v1/gallery'
/** Deletions per request. */
const atOnce = 500

export const gallery = {
  page: (query: GalleryFilter, signal: AbortSignal) => ask<GalleryPage>('GET', `${path}?${queryOf(query)}`, { signal }),
  remove: (name: string) => ask<Message>('DELETE', pathOf(`${path}/images`, name)),
  /** @returns how many images were deleted; the others did not exist any more */
  async removeMany (names: readonly string[]) {
    let count = 0
    for (let from = 0; from < names.length; from += atOnce) {
      const { deleted } = await ask<DeletedImages>('POST', `${path}/delete`, { body: { filenames: names.slice(from, from + atOnce) } })
      count += deleted.length
    }
    return { message: `${plural(count, 'image')} deleted.` }
  },
  /** @returns the address of the zip file */
  createZip: (filenames: readonly string[], parameters: boolean) => ask<Zip>('POST', `${path}/zips`, { body: { filenames, parameters } })
}
