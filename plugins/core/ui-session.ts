import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { SessionOpening, SessionView } from '../../schemas/session.ts'
import { parseBearer, usesBasic } from '../../src/access/credentials.ts'
import { mayDo, type Principal, type Scope } from '../../src/access/principal.ts'
import type { FailedLogins } from '../../src/access/rate-limit.ts'
import {
  isKeySession, type KeySessions, readCookie, sessionCookie, sessionCookieName, type Sessions
} from '../../src/access/sessions.ts'
import type { UsageReader } from '../../src/jobs/usage.ts'
import { ServiceError } from '../../src/lib/errors.ts'

/**
 * Ends a request with wrong credentials, and after many of them refuses the address for a while.
 * @throws ServiceError invalid_api_key or too_many_failed_logins, always
 */
export async function refuseLogin (
  failedLogins: FailedLogins, request: FastifyRequest, reply: FastifyReply, sentence: string
): Promise<never> {
  // Without Redis nothing is counted; the credentials are as wrong as before.
  const waitSeconds = await failedLogins.note(request.ip).catch(() => 0)
  if (waitSeconds === 0) throw new ServiceError('invalid_api_key', sentence)
  reply.header('Retry-After', String(waitSeconds))
  throw new ServiceError('too_many_failed_logins',
    `Too many wrong credentials from this address; wait ${waitSeconds} seconds, or send the right ones`,
    { retry_after: waitSeconds })
}

/** Adds the challenge to a 401. Only clients that speak Basic get that one: browsers would open a password window. */
export function challenge (request: FastifyRequest, reply: FastifyReply): void {
  reply.header('WWW-Authenticate', usesBasic(request.headers)
    ? 'Basic realm="StableQueue", charset="UTF-8"'
    : 'Bearer realm="StableQueue"')
}

export interface UiSessionOptions {
  readonly sessions: Sessions
  readonly keySessions: KeySessions
  readonly failedLogins: FailedLogins
  /** Limits of a caller, and what it used of them. */
  readonly usageOf: UsageReader
}

/** Exchanges the admin token or an access key for the web UI's cookie. */
const uiSession: FastifyPluginAsyncTypebox<UiSessionOptions> = async (app, options) => {
  const { sessions, keySessions, failedLogins, usageOf } = options

  app.get('/ui/session', {
    config: { access: 'known' },
    schema: {
      operationId: 'uiSession.get',
      summary: 'Who the web UI acts as',
      description: 'With its rights, limits and usage. Answers 401 where the admin token or an access key is needed, and ' +
        'after the end of a session of an access key.',
      tags: ['Web UI'],
      response: { 200: { ...Ref(SessionView), description: 'The caller.' }, ...errorResponses(403) }
    }
  }, async ({ principal }, reply) => {
    reply.header('cache-control', 'no-store')
    const { kind, name, keyId, scopes } = principal
    return {
      kind,
      name,
      role: mayDo(principal, '*') ? 'admin' as const : 'user' as const,
      key_id: keyId,
      scopes: [...scopes],
      rights: rightsOf(principal),
      ...await usageOf(principal)
    }
  })

  app.post('/ui/session', {
    config: { access: 'public' },
    schema: {
      operationId: 'uiSession.open',
      summary: 'Open a session of the web UI',
      description: 'Exchanges the admin token or an access key for a cookie that lasts 7 days, or 12 hours without use. The ' +
        'session of an access key ends at once when the key is revoked, switched off or given another secret.',
      tags: ['Web UI'],
      body: Ref(SessionOpening),
      response: {
        204: Type.Null({ description: 'The session is open; the cookie is set.' }),
        ...errorResponses(400, 403)
      }
    }
  }, async (request, reply) => {
    const signIn = readSignIn(request.body)
    const session = 'token' in signIn
      ? await sessions.open(signIn.token)
      : await keySessions.open(signIn.key, signIn.secret)
    if (session === null) {
      challenge(request, reply)
      return await refuseLogin(failedLogins, request, reply, 'token' in signIn
        ? 'This is neither the admin token nor an access key with its secret'
        : 'This access key and secret do not fit, or the key is switched off')
    }
    const former = readCookie(request.headers.cookie, cookieName(request))
    if (former !== null) await endSession(former)
    reply.header('Set-Cookie', sessionCookie(cookieName(request), session, request))
    return reply.code(204).send(null)
  })

  app.delete('/ui/session', {
    config: { access: 'public' },
    schema: {
      operationId: 'uiSession.end',
      summary: 'End the session of the web UI',
      description: 'Forgets the session and removes its cookie.',
      tags: ['Web UI'],
      response: {
        204: Type.Null({ description: 'The session is over; the cookie is removed.' }),
        ...errorResponses(403)
      }
    }
  }, async (request, reply) => {
    const session = readCookie(request.headers.cookie, cookieName(request))
    if (session !== null) await endSession(session)
    reply.header('Set-Cookie', sessionCookie(cookieName(request), '', request))
    return reply.code(204).send(null)
  })

  async function endSession (session: string): Promise<void> {
    await (isKeySession(session) ? keySessions : sessions).end(session)
  }
}

function cookieName (request: FastifyRequest): string {
  return sessionCookieName(request.socket.localPort ?? 0)
}

type SignIn = { readonly token: string } | { readonly key: string, readonly secret: string }

/** @throws ServiceError unless it is exactly one of the two forms */
function readSignIn ({ token, key, secret }: SessionOpening): SignIn {
  if (token !== undefined && key === undefined && secret === undefined) {
    const [, publicHalf, itsSecret] = /^(mk_[^:]*):(.+)$/.exec(token.trim()) ?? []
    if (publicHalf !== undefined && itsSecret !== undefined) return { key: publicHalf, secret: itsSecret }
    const credentials = parseBearer(token)
    return credentials.kind === 'pair' ? credentials : { token }
  }
  if (token === undefined && key !== undefined && secret !== undefined) {
    return { key: key.trim(), secret: secret.trim() }
  }
  if (token !== undefined) {
    throw new ServiceError('invalid_field_value', 'token cannot be combined with key and secret.', { field: 'token' })
  }
  const field = key === undefined && secret === undefined ? 'token' : key === undefined ? 'key' : 'secret'
  throw new ServiceError('missing_required_field', field === 'token'
    ? 'token is missing: send the admin token, or an access key as key and secret.'
    : 'key and secret belong together; one of them is missing.', { field })
}

const neededScopes = {
  submit_jobs: 'jobs:write',
  see_jobs: 'jobs:read',
  see_all_jobs: 'jobs:read:all',
  change_all_jobs: 'jobs:cancel:all',
  see_images: 'images:read',
  see_models: 'models:read',
  change_models: 'models:write',
  see_servers: 'servers:read',
  change_servers: 'servers:admin',
  change_queue: 'queue:admin',
  manage_keys: 'keys:admin',
  see_metrics: 'metrics:read'
} as const satisfies Record<keyof SessionView['rights'], Scope>

function rightsOf (principal: Principal): SessionView['rights'] {
  return Object.fromEntries(Object.entries(neededScopes)
    .map(([right, scope]) => [right, mayDo(principal, scope)])) as SessionView['rights']
}

export default uiSession
