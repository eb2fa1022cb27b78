import { sentenceOf } from './api.js'
import { session } from './service.js'

/**
 * Exchanges the token of a `#token=…` address for a session, once; it leaves the address bar and the history first.
 * @returns {Promise<string>} why that failed, or the empty text
 */
export async function takeToken () {
  const [, token] = /^#token=(.+)$/.exec(window.location.hash) ?? []
  if (token === undefined) return ''
  window.history.replaceState(null, '', '#/queue')
  try {
    await session.open(decodeURIComponent(token))
    return ''
  } catch (error) {
    return error instanceof URIError ? 'The token of this address is cut off or damaged.' : sentenceOf(error)
  }
}
