import { sentenceOf } from './api.ts'
import { session } from './service.ts'
import { common } from '../texts/en/common.ts'

/**
 * Exchanges the token in a `#token=…` address for a session, once. First it removes the token from address bar and
 * history.
 * @returns why that failed, or an empty string
 */
export async function takeToken () {
  const [, token] = /^#token=(.+)$/.exec(window.location.hash) ?? []
  if (token === undefined) return ''
  window.history.replaceState(null, '', '#/queue')
  try {
    await session.open(decodeURIComponent(token))
    return ''
  } catch (error) {
    return error instanceof URIError ? common.tokenIsDamaged : sentenceOf(error)
  }
}
