import { Type } from '@sinclair/typebox'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { StringEnum } from '../../schemas/kit.ts'
import { ServiceError } from '../../src/lib/errors.ts'

/** The query parameter that `emptyIfMissing` reads. */
export const missingParameter = {
  missing: Type.Optional(StringEnum(['empty'], {
    description: '`empty`: the answer is 204 instead of 404 if there is no picture. For pages: browsers write each 404 to ' +
      'the console.'
  }))
}

/** What such a route declares beside its other answers. */
export const emptyAnswer = { 204: { description: 'With `missing=empty`: there is no picture.', type: 'null' } } as const

/** The error handler of a route with `missingParameter`. */
export function emptyIfMissing (error: FastifyError, { query }: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { missing } = query as { missing?: 'empty' }
  if (missing !== 'empty' || !(error instanceof ServiceError) || error.status !== 404) throw error
  return reply.code(204).send()
}
