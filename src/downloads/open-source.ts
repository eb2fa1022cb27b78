import { request as httpRequest, type IncomingMessage } from 'node:http'
import type { EgressGuard } from '../egress/guard.ts'
import { FinalFailure } from './final-failure.ts'

export interface SourceRequest {
  readonly url: URL
  /** Sent to the first address only, never to where it redirects. */
  readonly authorization: string | null
  /** Bytes that are there already. */
  readonly from: number
  /** Origins of the settings: they may be anywhere, and without TLS. */
  readonly trustedOrigins: readonly string[]
  readonly signal: AbortSignal
}

export interface OpenSource {
  readonly response: IncomingMessage
  /** SHA-256 that the source itself told, lower case: HuggingFace does, in `X-Linked-Etag`; null otherwise. */
  readonly sha256: string | null
  close (): void
}

const mostRedirects = 5
/** Between two pieces of the answer, in milliseconds. */
const idleTimeout = 60_000

/**
 * Begins to download. Where a redirect leads is looked at like the first address: https and the internet only, but
 * for origins of the settings.
 * @throws EgressRefusal, FinalFailure, or an Error that says what went wrong
 */
export async function openSource (guard: Pick<EgressGuard, 'connect'>, request: SourceRequest): Promise<OpenSource> {
  let url = request.url
  let sha256: string | null = null
  for (let hop = 0; hop <= mostRedirects; hop++) {
    const trusted = request.trustedOrigins.includes(url.origin)
    if (url.protocol !== 'https:' && !trusted) throw new FinalFailure(`${url.host} is not asked without https`)
    const keepsKey = request.authorization !== null && url.origin === request.url.origin
    const source = await ask(guard, url, {
      'user-agent': 'StableQueue',
      'accept-encoding': 'identity',
      ...(keepsKey ? { authorization: request.authorization } : {}),
      ...(request.from > 0 ? { range: `bytes=${request.from}-` } : {})
    }, { reach: trusted ? 'private' : 'public', signal: request.signal, trusted })
    const { statusCode = 0, headers } = source.response
    // Only the source's own word counts, not that of whoever keeps the file for it.
    if (trusted) sha256 ??= linkedHash(headers['x-linked-etag'])
    if (![301, 302, 303, 307, 308].includes(statusCode)) return { ...source, sha256 }
    source.close()
    if (headers.location === undefined) throw new Error(`${url.host} redirects to nowhere`)
    url = new URL(headers.location, url)
  }
  throw new FinalFailure(`${request.url.host} redirects too often`)
}

async function ask (
  guard: Pick<EgressGuard, 'connect'>, url: URL, headers: Readonly<Record<string, string | null>>,
  { reach, signal, trusted }: { reach: 'private' | 'public', signal: AbortSignal, trusted: boolean }
): Promise<Omit<OpenSource, 'sha256'>> {
  const socket = trusted && url.protocol === 'http:' ? undefined : await guard.connect(url, reach, signal)
  return await new Promise((resolve, reject) => {
    const request = httpRequest({
      host: url.hostname,
      port: url.port,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, ...headers, connection: 'close' },
      signal,
      timeout: idleTimeout,
      ...(socket === undefined ? {} : { createConnection: () => socket })
    }, response => {
      resolve({
        response,
        close () {
          response.on('error', () => {})
          request.destroy()
        }
      })
    })
    request.on('timeout', () => { request.destroy(new Error(`${url.host} sent nothing for ${idleTimeout / 1000} s`)) })
    request.on('error', reject)
    request.end()
  })
}

function linkedHash (tag: string | string[] | undefined): string | null {
  return typeof tag === 'string' ? /^"?([0-9a-f]{64})"?$/i.exec(tag)?.[1]?.toLowerCase() ?? null : null
}
