import type { IncomingMessage } from 'node:http'
import type { FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import type { Config } from '../../src/config/settings.ts'
import { contains, networkList } from '../../src/lib/ip.ts'
import { withoutTrailing } from '../../src/lib/text.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** The path under which the client reaches this service, such as `/queue`; empty at the root of a host. */
    readonly base: string
    /** The path for cookies: other programs under the same host name must not get them. */
    readonly cookiePath: string
  }
}

/** Parts without any character that has a meaning in HTML, headers or addresses; neither `.` nor `..`. */
const validPrefix = /^(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+){1,8}$/
const longestPrefix = 200

/** How one request reached us. */
interface Way {
  readonly base: string
  /** False if only PUBLIC_URL names the prefix, so that the request can also have come directly. */
  readonly isShown: boolean
}

/** Finds the path prefix of requests behind a proxy that serves us under one. */
export interface RequestPrefix {
  /** The path of a request here. Proxies send it with the prefix or without. */
  withoutPrefix (raw: IncomingMessage, path: string): string
  wayOf (raw: IncomingMessage): Way
  /** Notes a path of ours, to distinguish it from the prefix. */
  note (path: string): void
  /** False if no setting allows a prefix. */
  readonly isPossible: boolean
  /** The host name of PUBLIC_URL, or empty. */
  readonly publicHost: string
}

const direct: Way = { base: '', isShown: true }

/** PUBLIC_URL gives the prefix with its path; X-Forwarded-Prefix of a trusted proxy takes precedence. */
export function createRequestPrefix (
  { PUBLIC_URL, TRUSTED_PROXIES }: Pick<Config, 'PUBLIC_URL' | 'TRUSTED_PROXIES'>
): RequestPrefix {
  const { pathname, hostname } = PUBLIC_URL === '' ? { pathname: '', hostname: '' } : new URL(PUBLIC_URL)
  const ofSettings = withoutTrailing(pathname, '/')
  const proxies = networkList(TRUSTED_PROXIES)
  const isPossible = ofSettings !== '' || TRUSTED_PROXIES.length > 0
  const ways = new WeakMap<IncomingMessage, Way>()
  const ownParts = new Set<string>()

  function prefixOf ({ headers, socket }: IncomingMessage): Way {
    const header = headers['x-forwarded-prefix']
    const announced = typeof header === 'string' && contains(proxies, socket.remoteAddress) ? readPrefix(header) : null
    return announced === null ? { base: ofSettings, isShown: false } : { base: announced, isShown: true }
  }

  return {
    withoutPrefix (raw, path) {
      if (!isPossible) return path
      const way = prefixOf(raw)
      if (way.base === '') return path
      const inside = pathInside(path, way.base, ownParts, raw)
      ways.set(raw, inside === path ? way : { ...way, isShown: true })
      return inside
    },
    wayOf: raw => ways.get(raw) ?? direct,
    note (path) { ownParts.add(firstPartOf(path)) },
    isPossible,
    publicHost: hostname
  }
}

/** The prefix that a header names, without a slash at its end; null if it is not one, or more than one. */
function readPrefix (header: string): string | null {
  const prefix = withoutTrailing(header.trim(), '/')
  return prefix === '' || (prefix.length <= longestPrefix && validPrefix.test(prefix)) ? prefix : null
}

/**
 * The path without the prefix, if it has it. The prefix can be a path of ours too, such as `/queue` or `/api`: then it
 * is the prefix where a path of ours follows it.
 */
function pathInside (path: string, base: string, ownParts: ReadonlySet<string>, { headers }: IncomingMessage): string {
  const rest = path.slice(base.length)
  if (!path.startsWith(base) || !/^(?:$|[/?])/.test(rest)) return path
  const isOwn = ownParts.has(firstPartOf(base))
  if (!rest.startsWith('/')) {
    const wantsPage = /\btext\/html\b/i.test(headers.accept ?? '')
    return isOwn && !wantsPage ? path : `/${rest}`
  }
  return isOwn && !ownParts.has(firstPartOf(rest)) ? path : rest
}

function firstPartOf (path: string): string {
  return /^\/?([^/?#]*)/.exec(path)?.[1] ?? ''
}

/** The address under which the client of a request reaches this service, without a slash at its end. */
export function ownAddress ({ protocol, host, base }: FastifyRequest): string {
  return `${protocol}://${host}${base}`
}

/** Tells routes the prefix, and completes addresses in the header Location. It must come before all routes. */
export default fp<{ readonly requestPrefix: RequestPrefix }>(async (app, { requestPrefix: prefix }) => {
  if (prefix.isPossible) app.addHook('onRoute', ({ url }) => { prefix.note(url) })
  app.decorateRequest('base', { getter () { return prefix.wayOf(this.raw).base } })
  app.decorateRequest('cookiePath', {
    getter () {
      const { base, isShown } = prefix.wayOf(this.raw)
      return base !== '' && (isShown || this.hostname === prefix.publicHost) ? base : '/'
    }
  })
  if (!prefix.isPossible) return
  app.addHook('onSend', (request, reply, _payload, done) => {
    const location = reply.getHeader('location')
    if (typeof location === 'string' && /^\/(?!\/)/.test(location)) reply.header('location', `${request.base}${location}`)
    done()
  })
}, { name: 'prefix', fastify: '5.x' })
