import type { Readable } from 'node:stream'
import type { Static, TObject } from '@sinclair/typebox'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { inPlaceOfField, toBotError } from '../../src/bots/errors.ts'
import { formFields, withUsualNames } from '../../src/bots/form.ts'
import { readFields, refuseUnknownFields, validationDetail } from '../../src/bots/read-fields.ts'
import type { BotCall } from '../../src/bots/request.ts'
import { ValidationFailure } from '../../src/fastapi/errors.ts'
import { pydantic2 } from '../../src/fastapi/pydantic2.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { parseJson, type PartedJson } from '../../src/lib/json.ts'
import { logFailure, retryAfter, toServiceError } from '../core/errors.ts'
import { ownAddress } from '../core/prefix.ts'
import { contextOf } from '../core/request-log.ts'

/**
 * Makes a scope behave as FastAPI does, for which the clients of these routes were written: its errors, its way of
 * reading bodies. Schemas of requests only document them; `readFields` does the reading.
 */
export function behaveLikeFastApi (app: FastifyInstance): void {
  app.setValidatorCompiler(() => () => true)
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: Readable) => {
    const text = await request.readJsonText(payload)
    return text.bytes.length === 0 ? undefined : parseBody(text)
  })
  answerErrorsLikeFastApi(app)
  app.addHook('preParsing', async request => {
    const takesBody = request.routeOptions.config.multipart !== undefined
    if (takesBody && request.mediaType === undefined) throw missingBody()
  })
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? ''
    const allowed = app.methodsInstead(request.method, path)
    if (allowed.length === 0) return send(reply.code(404), { detail: 'Not Found' })
    return send(reply.code(405).header('allow', allowed.join(', ')), { detail: 'Method Not Allowed' })
  })
}

/** The same for routes outside of these prefixes. */
export function answerErrorsLikeFastApi (app: FastifyInstance): void {
  app.setErrorHandler(async (thrown, request, reply) => {
    const error = thrown instanceof ValidationFailure ? thrown : toServiceError(thrown)
    const { status, body } = toBotError(error)
    const code = error instanceof ServiceError ? error.code : 'validation'
    if (error instanceof ServiceError) reply.headers(retryAfter(error))
    return send(reply.code(logFailure(request, { code, status }, error)), body)
  })
}

/** Bypasses the response schema of the route: an error must never fail for its own shape. */
function send (reply: FastifyReply, body: unknown): FastifyReply {
  return reply.type('application/json').serializer((payload: unknown) => stringifyJson(payload)).send(body)
}

function parseBody (body: PartedJson): unknown {
  try {
    return parseJson('The body', body)
  } catch (error) {
    if (!(error instanceof ServiceError) || error.details.position === undefined) throw error
    const { location, problem } = pydantic2.badJson(body.whole())
    throw new ValidationFailure([validationDetail(['body', location], {}, problem)])
  }
}

/**
 * The fields of a request in any encoding, with the images that it names in the store.
 * @throws ValidationFailure if there is no object, or naming the field of an image that is not there
 */
export async function fieldsOfRequest (request: FastifyRequest): Promise<Readonly<Record<string, unknown>>> {
  const { principal, server: { imageSources } } = request
  return await imageSources.resolve(sentFields(request), principal)
    .catch((error: unknown) => { throw inPlaceOfField(error) })
}

function sentFields (request: FastifyRequest): Record<string, unknown> {
  const { body } = request
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    if (body === undefined || body === null) throw missingBody()
    throw new ValidationFailure([validationDetail(['body'], body, pydantic2.notAnObject(body))])
  }
  const fields = body as Record<string, unknown>
  return withUsualNames(request.isMultipart() ? formFields(fields) : fields)
}

/**
 * Reads the fields of a route that is this service's own: unlike the routes with existing clients, it rejects unknown
 * ones.
 * @throws ValidationFailure
 */
export function readOnlyFields<Schema extends TObject> (
  schema: Schema, fields: Readonly<Record<string, unknown>>
): Static<Schema> {
  refuseUnknownFields(schema, fields)
  return readFields(schema, fields)
}

function missingBody (): ValidationFailure {
  return new ValidationFailure([validationDetail(['body'], null, pydantic2.missing)])
}

/** A request in the form for generations. @throws ValidationFailure as `fieldsOfRequest` */
export async function callOf (request: FastifyRequest): Promise<BotCall> {
  return {
    fields: await fieldsOfRequest(request),
    keyId: request.principal.keyId,
    baseUrl: ownAddress(request),
    context: contextOf(request)
  }
}
