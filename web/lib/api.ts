import type { ErrorAnswer } from './api-types.ts'
import { parseExactly } from './exact-json.ts'
import { common } from '../texts/en/common.ts'

/** An answer with an error status. */
export class ApiError extends Error {
  readonly status: number
  readonly code: string
  readonly details: Readonly<Record<string, unknown>> & Partial<ErrorAnswer['details']>

  constructor (status: number, body: Partial<ErrorAnswer>) {
    super(body.message ?? common.answeredWithStatus(status))
    this.name = 'ApiError'
    this.status = status
    this.code = body.error ?? ''
    this.details = body.details ?? {}
  }
}

/** The path under which this page and the service are served: `/`, or one such as `/queue/` behind a proxy. */
const base = new URL('../', import.meta.url).pathname

/** The address of a path of the service, such as `/docs`. */
export function addressOf (path: string) {
  return base + path.slice(1)
}

/** Dispatched on `window` when the service no longer accepts the session. */
export const signedOut = 'stablequeue:signed-out'

/** Dispatched on `window` when the service refuses a right: it can have been taken away meanwhile. */
export const forbidden = 'stablequeue:forbidden'

/** Dispatched on `window` when the service stops answering, and when it answers again. */
export const unreachable = 'stablequeue:unreachable'
export const reachable = 'stablequeue:reachable'

/**
 * Sends a request to the service. Changes carry a header that pages of other origins cannot add.
 * @param options key: the `Idempotency-Key`, with which a repeat gets the first answer
 * @returns the body; null if there is none
 * @throws {ApiError} if the service rejects the request; TypeError if it does not answer
 */
export async function ask<Answer> (
  method: string, path: string, { body, signal, key }: { body?: unknown, signal?: AbortSignal, key?: string } = {}
): Promise<Answer> {
  const headers: Record<string, string> = { accept: 'application/json' }
  if (method !== 'GET') headers['x-requested-with'] = 'ui'
  if (body !== undefined) headers['content-type'] = 'application/json'
  if (key !== undefined) headers['idempotency-key'] = key
  const response = await reach(path, {
    method, headers, credentials: 'same-origin', ...signal && { signal }, ...body !== undefined && { body: JSON.stringify(body) }
  })
  const text = await response.text()
  const answer = text === '' ? null : readJson(text)
  if (response.ok) return answer as Answer
  if (response.status === 401 && path !== '/ui/session') window.dispatchEvent(new Event(signedOut))
  if (response.status === 403) window.dispatchEvent(new Event(forbidden))
  throw new ApiError(response.status, answer as Partial<ErrorAnswer> | null ?? {})
}

async function reach (path: string, options: RequestInit) {
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
export function isUnreachable (error: unknown): error is TypeError {
  return error instanceof TypeError
}

function readJson (text: string): unknown {
  try {
    return parseExactly(text)
  } catch {
    return { message: common.answerIsNotJson }
  }
}

/** A path with encoded parts, because people choose names and ids. */
export function pathOf (...parts: string[]) {
  return parts.map((part, index) => index === 0 ? part : encodeURIComponent(part)).join('/')
}

/** A sentence for people about any thrown value. */
export function sentenceOf (error: unknown): string {
  if (isUnreachable(error)) return common.serviceDoesNotAnswer
  return error instanceof Error ? error.message : ''
}
