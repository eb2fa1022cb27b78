import { ask, pathOf } from './api.js'
import { queryOf } from './query.js'

/** The routes of the gallery, each as a function. */

const path = '/api/v1/gallery'
/** Deletions in one request. */
const atOnce = 500

export const gallery = {
  page: (query, signal) => ask('GET', `${path}?${queryOf(query)}`, { signal }),
  remove: name => ask('DELETE', pathOf(`${path}/images`, name)),
  /** @returns {Promise<string[]>} names of those that are gone, also of those that were not there any more */
  async removeMany (names) {
    for (let from = 0; from < names.length; from += atOnce) {
      await ask('POST', `${path}/delete`, { body: { filenames: names.slice(from, from + atOnce) } })
    }
    return names
  },
  /** @returns {Promise<{ url: string, count: number }>} where the zip is to be fetched */
  orderZip: (filenames, parameters) => ask('POST', `${path}/zips`, { body: { filenames, parameters } })
}
