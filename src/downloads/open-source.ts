import type { EgressGuard } from '../egress/guard.ts'
import { createHttpClient, type HttpAnswer } from '../lib/http/client.ts'
import { FinalFailure } from './final-failure.ts'

export interface SourceRequest {
  readonly url: URL
  /** Sent to the first address only, never to where it redirects. */
  readonly authorization: string | null
  /** Bytes that are there already. */
  readonly from: number
  /** Origins of the settings: they may be anywhere, and without TLS. */
  readonly trustedOrigins: readonly string[]
  /** ETag or date of what those bytes are of: a file that has changed comes whole. */
  readonly ifRange?: string
  /** What to do where the source asks for a login instead. */
  readonly loginHint?: string
  readonly signal: AbortSignal
}

export interface OpenSource {
  /** Its body is to be read or destroyed. */
  readonly answer: HttpAnswer
  /** SHA-256 that the source itself told, lower case: HuggingFace does, in `X-Linked-Etag`; null otherwise. */
  readonly sha256: string | null
}

const mostRedirects = 5
/** Where sources lead those who may not have a file without saying who they are. */
const loginPath = /\/(?:log-?in|sign-?in|oauth)(?:\/|$)/i
/** Before the answer and between two pieces of it, in milliseconds. */
const idleMs = 60_000

const configuredSources = createHttpClient({ connectTimeoutMs: 10_000 })

/**
 * Begins to download. Where a redirect leads is looked at like the first address: https and the internet only, but
 * for origins of the settings.
 * @throws EgressRefusal, FinalFailure, or an Error that says what went wrong
 */
export async function openSource (guard: Pick<EgressGuard, 'client'>, request: SourceRequest): Promise<OpenSource> {
  let url = request.url
  let sha256: string | null = null
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const trusted = request.trustedOrigins.includes(url.origin)
    if (url.protocol !== 'https:' && !trusted) throw new FinalFailure(`${url.host} needs https`)
    const keepsKey = request.authorization !== null && url.origin === request.url.origin
    const http = trusted ? configuredSources : guard.client('public')
    const answer = await http.request({
      url,
      headers: {
        'user-agent': 'StableQueue',
        ...(keepsKey ? { authorization: request.authorization } : {}),
        ...(request.from > 0 ? { range: `bytes=${request.from}-` } : {}),
        ...(request.from > 0 && request.ifRange !== undefined ? { 'if-range': request.ifRange } : {})
      },
      signal: request.signal,
      idleMs
    })
    const { statusCode, headers } = answer
    // Only the source's own word counts, not that of whoever keeps the file for it.
    if (trusted) sha256 ??= linkedHash(headers['x-linked-etag'])
    if (![301, 302, 303, 307, 308].includes(statusCode)) return { answer, sha256 }
    answer.body.destroy()
    if (headers.location === undefined) throw new Error(`${url.host} redirects to nowhere`)
    url = new URL(headers.location, url)
    if (request.loginHint !== undefined && loginPath.test(url.pathname)) {
      throw new FinalFailure(`${request.url.host} wants a login first; ${request.loginHint}`)
    }
  }
  throw new FinalFailure(`${request.url.host} redirects too often`)
}

function linkedHash (tag: string | string[] | undefined): string | null {
  return typeof tag === 'string' ? /^"?([0-9a-f]{64})"?$/i.exec(tag)?.[1]?.toLowerCase() ?? null : null
}
