import { parseExactly } from './exact-json.js'

/** An answer with an error status. */
export class ApiError extends Error {
  /** @param {number} status @param {{ error?: string, message?: string, details?: object }} body */
  constructor (status, body) {
    super(body.message ?? `The service answered with status ${status}.`)
    this.name = 'ApiError'
    this.status = status
    this.code = body.error ?? ''
    this.details = body.details ?? {}
  }
}

/** The path under which this page and the service are served: `/`, or one such as `/queue/` behind a proxy. */
const base = new URL('../../', import.meta.url).pathname

/** The address of a path of the service, such as `/docs`. */
export function addressOf (path) {
  return base + path.slice(1)
}

/** Dispatched on `window` when the service no longer accepts the session. */
export const signedOut = 'stablequeue:signed-out'

/** Dispatched on `window` when the service stops answering, and when it answers again. */
export const unreachable = 'stablequeue:unreachable'
export const reachable = 'stablequeue:reachable'

/**
 * Sends a request to the service. Changes carry a header that pages of other origins cannot add.
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the body; null if there is none
 * @throws {ApiError} if the service rejects the request; TypeError if it does not answer
 */
export async function ask (method, path, { body, signal } = {}) {
  const headers = { accept: 'application/json' }
  if (method !== 'GET') headers['x-requested-with'] = 'ui'
  if (body !== undefined) headers['content-type'] = 'application/json'
  const response = await reach(path, {
    method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body), credentials: 'same-origin'
  })
  const text = await response.text()
  const answer = text === '' ? null : readJson(text)
  if (response.ok) return answer
  if (response.status === 401 && path !== '/ui/session') window.dispatchEvent(new Event(signedOut))
  throw new ApiError(response.status, answer ?? {})
}

async function reach (path, options) {
  try {
    const response = await fetch(addressOf(path), options)
    window.dispatchEvent(new Event(reachable))
    return response
  } catch (error) {
    if (isUnreachable(error)) window.dispatchEvent(new Event(unreachable))
    throw error
  }
}

/** Whether fetch throws this error when there is no answer. */
export function isUnreachable (error) {
  return error instanceof TypeError
}

function readJson (text) {
  try {
    return parseExactly(text)
  } catch {
    return { message: 'The service answered with something that is not JSON; possibly a proxy in between caused it.' }
  }
}

/** A path with encoded parts, because people choose names and ids. */
export function pathOf (...parts) {
  return parts.map((part, index) => index === 0 ? part : encodeURIComponent(part)).join('/')
}

/** A sentence for people about any thrown value. */
export function sentenceOf (error) {
  if (isUnreachable(error)) return 'The service does not answer. It is possibly restarting.'
  return error?.message ?? ''
}
