import type { FastifyRequest } from 'fastify'
import type { StudioCall } from '../../src/studio/request.ts'
import { fieldsOfRequest } from './scope.ts'

/** A request as the generations understand it. @throws ValidationFailure when there is no object */
export function callOf (request: FastifyRequest): StudioCall {
  return {
    fields: fieldsOfRequest(request),
    keyId: request.principal.keyId,
    baseUrl: `${request.protocol}://${request.host}`
  }
}
