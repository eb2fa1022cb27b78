import { promisify } from 'node:util'
import bearerAuth from '@fastify/bearer-auth'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import {
  type A1111Credentials, mayBeOurs, parseA1111Bearer, parseA1111Credentials, parseBearer, parseBearerAlone,
  parseCredentials, parseUnaskedCredentials, type PresentCredentials, type RequestHeaders
} from '../../src/access/credentials.ts'
import type { AccessKeys } from '../../src/access/keys.ts'
import { administrator, anonymous, mayDo, type Principal, type Scope } from '../../src/access/principal.ts'
import type { Bucket, FailedLogins } from '../../src/access/rate-limit.ts'
import {
  isKeySession, type KeySessions, matchesToken, readCookie, sessionCookieName, type Sessions, type Tickets
} from '../../src/access/sessions.ts'
import {
  headerValues, type HostRules, isAllowedHost, isNavigation, isSafe, isTrustedByAddress, type PageRequest,
  refuseForeignPage, refuseUnmarkedChange, type RequestOrigin, type TrustRules
} from '../../src/access/trust.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { challenge, refuseLogin } from './ui-session.ts'

/**
 * Access to a route: for everybody, for everybody with any credentials or a trusted address, or with a scope. A route
 * without a value needs `*`.
 */
export type RouteAccess = 'public' | 'known' | ScopedAccess

interface ScopedAccess {
  readonly scope: Scope
  readonly bucket?: Bucket
  /** Lets a request in without credentials, from any page, if it is true: a signed link, for example. */
  readonly unless?: (request: FastifyRequest) => boolean
  /** For pages other than ours that make no change: browsers must send an origin of ours. */
  readonly unmarked?: true
  /** Whether `?ticket=` can replace credentials, for browsers, which can set no headers here. */
  readonly ticket?: true
}

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess
    /**
     * Accepted ways of sending credentials; those of this service by default. `bearer` needs Authorization: Bearer,
     * also where no credentials are needed otherwise, and refuses pages of other origins even so.
     */
    credentials?: 'a1111' | 'bearer'
  }
  interface FastifyRequest {
    /** The sender of the request; `anonymous` on public routes. */
    principal: Principal
  }
}

export interface AccessOptions {
  readonly accessKeys: AccessKeys
  readonly sessions: Sessions
  readonly keySessions: KeySessions
  readonly failedLogins: FailedLogins
  /** Bearer tokens with full rights: AUTH_TOKEN and the admin token. Empty ones match nothing. */
  readonly tokens: readonly string[]
  /** Whether AUTH_TOKEN is set, so that credentials must be valid. */
  readonly asksForToken?: boolean
  readonly trust: TrustRules
  readonly tickets: Tickets
  /** Origins whose pages can call with a key. */
  readonly corsOrigins: readonly string[]
  /** The setting PUBLIC_URL, or empty. */
  readonly publicUrl: string
}

const undeclared: RouteAccess = { scope: '*' }

/**
 * Finds the sender of a request and checks its access to the route: by credentials if there are any, else by the
 * address of the request and the page that made a browser send it.
 */
const access: FastifyPluginAsync<AccessOptions> = async (app, options) => {
  const { accessKeys, sessions, keySessions, failedLogins, trust, tickets, corsOrigins } = options
  const publicOrigins = options.publicUrl === '' ? [] : [new URL(options.publicUrl).origin]

  // A form of any page can post text/plain without asking first.
  app.removeContentTypeParser('text/plain')
  app.decorateRequest('principal')
  const bearers = new WeakMap<FastifyRequest, Principal>()
  await app.register(bearerAuth, {
    addHook: false,
    // `auth` knows tokens and access keys.
    keys: [],
    specCompliance: 'rfc6749',
    verifyErrorLogLevel: 'debug',
    async auth (value, request) {
      const principal = await holderOf(takesLoneSecrets(request) ? parseA1111Bearer(value) : parseBearer(value))
      if (principal === null) return false
      bearers.set(request, principal)
      return true
    }
  })
  const { verifyBearerAuth } = app
  if (verifyBearerAuth === undefined) throw new Error('@fastify/bearer-auth is not registered.')
  const verifyBearer = promisify(verifyBearerAuth)

  app.addHook('onRequest', async (request, reply) => {
    request.principal = anonymous
    // A missing route is no secret.
    if (request.is404) return
    const wanted = request.routeOptions.config.access ?? undeclared
    if (wanted === 'public') return admitAnybody(pageOf(request))
    if (wanted !== 'known' && wanted.unless?.(request) === true) return
    const principal = await identify(request, reply, wanted)
    if (wanted !== 'known' && !mayDo(principal, wanted.scope)) {
      throw new ServiceError('permission_denied',
        `This needs the scope ${wanted.scope}, which ${principal.name} does not have`, { scope: wanted.scope })
    }
    request.principal = principal
  })

  function admitAnybody (page: PageRequest): void {
    if (isNavigation(page)) return
    refuseForeignPage(page, isSafe(page) ? corsOrigins : [])
    refuseUnmarkedChange(page)
  }

  async function identify (
    request: FastifyRequest, reply: FastifyReply, wanted: Exclude<RouteAccess, 'public'>
  ): Promise<Principal> {
    try {
      const ticket = ticketOf(request)
      if (ticket !== null) return await identifyByTicket(request, ticket)
      const credentials = await credentialsOf(request)
      return credentials.kind === 'none'
        ? await identifyByPlace(request, wanted)
        : await identifyByCredentials(credentials, request, reply)
    } catch (error) {
      if (error instanceof ServiceError && error.status === 401) challenge(request, reply)
      throw error
    }
  }

  async function credentialsOf (request: FastifyRequest): Promise<A1111Credentials> {
    const { credentials } = request.routeOptions.config
    if (credentials === 'a1111') return await dropInCredentials(request)
    return credentials === 'bearer' ? parseBearerAlone(request.headers) : parseCredentials(request.headers)
  }

  /**
   * A1111 without --api-auth accepts any credentials, and clients send what they have, such as `None:None`. If none are
   * needed, those that were never ours count as none.
   */
  async function dropInCredentials (request: FastifyRequest): Promise<A1111Credentials> {
    const { headers } = request
    const isFree = options.asksForToken !== true && isTrustedByAddress(trust, originOf(request))
    if (!isFree) return parseA1111Credentials(headers)
    const credentials = parseUnaskedCredentials(headers)
    const isOurs = mayBeOurs(credentials) || await matchesAnything(credentials)
    return isOurs ? credentials : { kind: 'none' }
  }

  async function matchesAnything (credentials: A1111Credentials): Promise<boolean> {
    if (credentials.kind === 'secret') {
      return await accessKeys.knowsSecret(credentials.secret) ||
        (credentials.via === 'bearer' && matchesToken(options.tokens, credentials.secret))
    }
    return credentials.kind === 'token' && matchesToken(options.tokens, credentials.token)
  }

  async function identifyByCredentials (
    credentials: PresentCredentials, request: FastifyRequest, reply: FastifyReply
  ): Promise<Principal> {
    // Unlike the other forms, browsers add Basic to requests of any page.
    const isByItself = credentials.kind !== 'token' && credentials.via === 'basic'
    const isStrict = request.routeOptions.config.credentials === 'bearer'
    if (isByItself || isStrict) refuseForeignPage(pageOf(request), corsOrigins)
    const isBearer = credentials.kind === 'token' || credentials.via === 'bearer'
    const principal = isBearer ? await identifyByBearer(request, reply) : await holderOf(credentials)
    if (principal !== null) return principal
    return await refuseLogin(failedLogins, request, reply, isBearer && credentials.kind !== 'pair'
      ? 'This bearer token is not known'
      : 'This access key and secret do not fit, or the key is switched off')
  }

  async function identifyByBearer (request: FastifyRequest, reply: FastifyReply): Promise<Principal | null> {
    try {
      await verifyBearer(request, reply)
      return bearers.get(request) ?? null
    } catch (error) {
      if (String((error as { code?: unknown }).code).startsWith('FST_BEARER_AUTH_')) return null
      throw error
    }
  }

  async function holderOf (credentials: PresentCredentials): Promise<Principal | null> {
    if (credentials.kind === 'pair') return await accessKeys.verify(credentials.key, credentials.secret)
    if (credentials.kind === 'token') return tokenHolder(credentials.token)
    const principal = await accessKeys.verifySecret(credentials.secret)
    // A token can look like a lone secret.
    return principal ?? (credentials.via === 'bearer' ? tokenHolder(credentials.secret) : null)
  }

  function tokenHolder (token: string): Principal | null {
    return matchesToken(options.tokens, token) ? administrator('token') : null
  }

  async function identifyByTicket (request: FastifyRequest, ticket: string): Promise<Principal> {
    refuseForeignPage(pageOf(request), corsOrigins)
    const principal = await tickets.redeem(ticket)
    if (principal !== null) return principal
    throw new ServiceError('authentication_required',
      'This ticket was used before or is too old; get another one with POST /api/v1/events/ticket', { field: 'ticket' })
  }

  async function identifyByPlace (
    request: FastifyRequest, wanted: Exclude<RouteAccess, 'public'>
  ): Promise<Principal> {
    const page = pageOf(request)
    refuseForeignPage(page, [])
    const session = readCookie(request.headers.cookie, sessionCookieName(request.socket.localPort ?? 0))
    if (session !== null && isKeySession(session)) {
      const holder = await keySessions.holder(session)
      if (holder !== null) return holder
      // Not even at this machine: the person who signed in with a key would become administrator.
      throw new ServiceError('authentication_required', 'The session of this access key is over; sign in again',
        { reason: 'session_ended' })
    }
    if (session !== null && await sessions.isOpen(session)) return administrator('session')
    if (isTrustedByAddress(trust, originOf(request))) {
      if (wanted === 'known' || wanted.unmarked !== true || request.headers.origin === undefined) refuseUnmarkedChange(page)
      return administrator('local')
    }
    throw new ServiceError('authentication_required',
      'Send X-API-Key and X-API-Secret, or Authorization: Bearer with a token; the web UI asks for the admin token')
  }

  function pageOf (request: FastifyRequest): PageRequest {
    const origin = `${request.protocol}://${request.headers.host ?? ''}`.toLowerCase()
    return { method: request.method, headers: pageHeaders(request), ownOrigins: [origin, ...publicOrigins] }
  }
}

/** Whether a bearer token can be the secret of an access key without the key. */
function takesLoneSecrets ({ routeOptions }: FastifyRequest): boolean {
  return routeOptions.config.credentials !== undefined
}

function originOf (request: FastifyRequest): RequestOrigin {
  return {
    peer: request.socket.remoteAddress,
    client: request.ip,
    headers: request.headers,
    httpVersion: request.raw.httpVersion
  }
}

/** Browsers do not agree on how near ws: is to http: of the same host; the Origin, which they always send, is clear. */
function pageHeaders ({ headers }: FastifyRequest): RequestHeaders {
  if (headers.upgrade?.toLowerCase() !== 'websocket' || headers.origin === undefined) return headers
  return { ...headers, 'sec-fetch-site': undefined }
}

function ticketOf ({ routeOptions, query }: FastifyRequest): string | null {
  const { access } = routeOptions.config
  if (typeof access !== 'object' || access.ticket !== true) return null
  const { ticket } = query as { ticket?: unknown }
  return typeof ticket === 'string' ? ticket : null
}

export interface HostCheckOptions {
  readonly rules: HostRules
}

/** Refuses requests for a host name that is not ours, on all routes, before any other check. */
const checkHost: FastifyPluginAsync<HostCheckOptions> = async (app, { rules }) => {
  app.addHook('onRequest', (request, _reply, done) => {
    const hosts = headerValues(request.raw.rawHeaders, 'host')
    if (isAllowedHost(rules, hosts)) {
      done()
      return
    }
    const shown = hosts.length === 1 ? JSON.stringify(hosts[0]?.slice(0, 100)) : `${hosts.length} Host headers`
    throw new ServiceError('unknown_host',
      `This service does not answer to ${shown}; use localhost or an IP address, or add the name to PUBLIC_HOSTS`)
  })
}

export const hostCheck = fp(checkHost, { name: 'host-check', fastify: '5.x' })

export default fp(access, { name: 'access', fastify: '5.x', dependencies: ['host-check', 'cors', 'prefix'] })
