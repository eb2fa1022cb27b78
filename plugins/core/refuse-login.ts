import type { FastifyReply, FastifyRequest } from 'fastify'
import { usesBasic } from '../../src/access/credentials.ts'
import type { FailedLogins } from '../../src/access/failed-logins.ts'
import { ServiceError } from '../../src/errors.ts'

/**
 * Ends a request whose credentials are wrong, and after many of them tells the address to wait.
 * @throws ServiceError invalid_api_key or too_many_failed_logins, always
 */
export async function refuseLogin (
  failedLogins: FailedLogins, request: FastifyRequest, reply: FastifyReply, sentence: string
): Promise<never> {
  // Without Redis nobody is counted; the credentials are as wrong as before.
  const waitSeconds = await failedLogins.note(request.ip).catch(() => 0)
  if (waitSeconds === 0) throw new ServiceError('invalid_api_key', sentence)
  reply.header('Retry-After', String(waitSeconds))
  throw new ServiceError('too_many_failed_logins',
    `Too many wrong credentials from this address; wait ${waitSeconds} seconds, or send the right ones`,
    { retry_after: waitSeconds })
}

/** Says on a 401 how to come back. Only who speaks Basic is told of it: browsers would open a password window. */
export function challenge (request: FastifyRequest, reply: FastifyReply): void {
  reply.header('WWW-Authenticate', usesBasic(request.headers)
    ? 'Basic realm="StableQueue", charset="UTF-8"'
    : 'Bearer realm="StableQueue"')
}
