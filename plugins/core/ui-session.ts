import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, StringEnum } from '../../schemas/kit.ts'
import { usesBasic } from '../../src/access/credentials.ts'
import type { FailedLogins } from '../../src/access/rate-limit.ts'
import { readCookie, sessionCookie, sessionCookieName, type Sessions } from '../../src/access/sessions.ts'
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
  readonly failedLogins: FailedLogins
}

/** Exchanges the admin token for the web UI's cookie, off loopback. */
const uiSession: FastifyPluginAsyncTypebox<UiSessionOptions> = async (app, { sessions, failedLogins }) => {
  app.get('/ui/session', {
    config: { access: { scope: '*' } },
    schema: {
      operationId: 'get_ui_session',
      summary: 'Who the web UI acts as',
      description: 'Answers 401 when the admin token is needed.',
      tags: ['Web UI'],
      response: {
        200: Type.Object({
          kind: StringEnum(['key', 'token', 'local', 'session', 'anonymous'], { description: 'How the caller was recognised.' }),
          name: Type.String({ description: 'Name of the caller.' })
        }, { description: 'The caller.' }),
        ...errorResponses(403)
      }
    }
  }, async request => ({ kind: request.principal.kind, name: request.principal.name }))

  app.post('/ui/session', {
    config: { access: 'public' },
    schema: {
      operationId: 'open_ui_session',
      summary: 'Open a session of the web UI',
      description: 'Exchanges the admin token for a cookie that lasts 7 days, or 12 hours without use.',
      tags: ['Web UI'],
      body: Closed({
        token: Type.String({ minLength: 1, maxLength: 1024, description: 'ADMIN_TOKEN or AUTH_TOKEN.' })
      }),
      response: {
        204: Type.Null({ description: 'The session is open; the cookie is set.' }),
        ...errorResponses(400, 403)
      }
    }
  }, async (request, reply) => {
    const session = await sessions.open(request.body.token)
    if (session === null) {
      challenge(request, reply)
      return await refuseLogin(failedLogins, request, reply, 'This is not the admin token')
    }
    reply.header('Set-Cookie', sessionCookie(cookieName(request), session, request))
    return reply.code(204).send(null)
  })

  app.delete('/ui/session', {
    config: { access: 'public' },
    schema: {
      operationId: 'end_ui_session',
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
    if (session !== null) await sessions.end(session)
    reply.header('Set-Cookie', sessionCookie(cookieName(request), '', request))
    return reply.code(204).send(null)
  })
}

function cookieName (request: FastifyRequest): string {
  return sessionCookieName(request.socket.localPort ?? 0)
}

export default uiSession
