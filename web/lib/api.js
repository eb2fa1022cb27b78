import { parseExactly } from './exact-json.js'

/** An answer that says that something went wrong. */
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

/** Dispatched on `window` when the service no longer knows who we are. */
export const signedOut = 'stablequeue:signed-out'

/** Dispatched on `window` when the service does not answer, and when it answers. */
export const unreachable = 'stablequeue:unreachable'
export const reachable = 'stablequeue:reachable'

/**
 * Asks the service. Changes carry a header that no page of another origin can add.
 * @param {string} method
 * @param {string} path
 * @param {{ body?: unknown, signal?: AbortSignal }} [options]
 * @returns {Promise<any>} the body; null where there is none
 * @throws {ApiError} when it refuses; TypeError when it does not answer
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
    const response = await fetch(path, options)
    window.dispatchEvent(new Event(reachable))
    return response
  } catch (error) {
    if (isUnreachable(error)) window.dispatchEvent(new Event(unreachable))
    throw error
  }
}

/** Whether this is what fetch throws where nobody answers. */
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

/** A path out of parts that people chose. */
export function pathOf (...parts) {
  return parts.map((part, index) => index === 0 ? part : encodeURIComponent(part)).join('/')
}

/** A sentence for people about anything thrown. */
export function sentenceOf (error) {
  if (isUnreachable(error)) return 'The service does not answer. It is possibly restarting.'
  return error?.message ?? ''
}
