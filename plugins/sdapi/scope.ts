import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { a1111Answers, a1111Failure } from '../../schemas/a1111.ts'
import { GenerationFailure } from '../../src/a1111/types.ts'
import { HttpException, PythonError, ValidationFailure } from '../../src/fastapi/errors.ts'
import { foreignBody, noBody } from '../../src/fastapi/model.ts'
import { pydantic1 } from '../../src/fastapi/pydantic1.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { parseJson, type PartedJson } from '../../src/lib/json.ts'
import { ServerAnswer, toA1111Error } from '../../src/sdapi/outcome.ts'
import { logFailure, retryAfter, toServiceError } from '../core/errors.ts'
import { sendJson } from './call.ts'

/** Limit of a broken body's quotation in the error, in characters. */
const longestQuote = 2000

/** Reads bodies within the service's limits and reports errors in A1111's words. */
export function takeA1111Bodies (app: FastifyInstance): void {
  const parse = async (request: FastifyRequest, payload: Readable): Promise<unknown> => {
    const text = await request.readJsonText(payload)
    if (text.bytes.length === 0) return noBody
    const type = request.headers['content-type'] ?? ''
    return type === '' || /^application\/([^;]*\+)?json\b/i.test(type.trim()) ? parseLikeA1111(text) : foreignBody
  }
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', parse)
  app.addContentTypeParser('*', parse)
}

function parseLikeA1111 (body: PartedJson): unknown {
  try {
    return parseJson('The body', body)
  } catch (error) {
    if (!(error instanceof ServiceError) || error.details.position === undefined) throw error
    const { location, problem } = pydantic1.badJson(body.whole())
    const ctx = { ...problem.ctx, doc: String(problem.ctx?.doc).slice(0, longestQuote) }
    throw new ValidationFailure([pydantic1.render(['body', location], {}, { ...problem, ctx })])
  }
}

const describedErrors = [HttpException, PythonError, ServerAnswer, ValidationFailure, GenerationFailure]

/** Makes a scope behave like A1111: its authentication, its bodies, its errors. */
export function behaveLikeA1111 (app: FastifyInstance): void {
  app.addHook('onRoute', route => {
    const operation = String(Reflect.get(route.schema ?? {}, 'operationId'))
    const documentedAnswers = { ...a1111Answers[operation], default: a1111Failure }
    route.config = { credentials: 'a1111', documentedAnswers, ...route.config }
  })
  takeA1111Bodies(app)
  answerErrorsLikeA1111(app)

  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? ''
    const allowed = app.methodsInstead(request.method, path)
    if (allowed.length === 0) return sendJson(reply.code(404), { detail: 'Not Found' })
    return sendJson(reply.code(405).header('allow', allowed.join(', ')), { detail: 'Method Not Allowed' })
  })
}

/** The same for routes outside of `/sdapi/v1`. */
export function answerErrorsLikeA1111 (app: FastifyInstance): void {
  app.setErrorHandler(async (thrown, request, reply) => {
    const own = describedErrors.some(kind => thrown instanceof kind)
    const error: Error = own ? thrown as Error : toServiceError(thrown)
    const { status, body } = toA1111Error(error)
    const code = error instanceof ServiceError ? error.code : 'a1111'
    if (error instanceof ServiceError) reply.headers(retryAfter(error))
    // A starting server is worth an early retry.
    if (error instanceof GenerationFailure && status === 503 && error.retryAfterMs !== null) {
      reply.header('retry-after', String(Math.ceil(error.retryAfterMs / 1000)))
    }
    return sendJson(reply.code(logFailure(request, { code, status, isExpected: own }, error)), body)
  })
}
