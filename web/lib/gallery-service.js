import { ask, pathOf } from './api.js'
import { plural } from './format.js'
import { queryOf } from './query.js'

/** The routes of the gallery, one function each. */

const path = '/api/v1/gallery'
/** Deletions per request. */
const atOnce = 500

export const gallery = {
  page: (query, signal) => ask('GET', `${path}?${queryOf(query)}`, { signal }),
  remove: name => ask('DELETE', pathOf(`${path}/images`, name)),
  /** @returns {Promise<{ message: string }>} how many images were deleted; the others did not exist any more */
  async removeMany (names) {
    let count = 0
    for (let from = 0; from < names.length; from += atOnce) {
      const { deleted } = await ask('POST', `${path}/delete`, { body: { filenames: names.slice(from, from + atOnce) } })
      count += deleted.length
    }
    return { message: `${plural(count, 'image')} deleted.` }
  },
  /** @returns {Promise<{ url: string, count: number }>} the address of the zip file */
  createZip: (filenames, parameters) => ask('POST', `${path}/zips`, { body: { filenames, parameters } })
}
