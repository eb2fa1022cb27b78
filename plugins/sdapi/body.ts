import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseJson } from '../../src/json/parse.ts'
import { ServiceError } from '../../src/errors.ts'
import { ValidationFailure } from '../../src/simulator/failures.ts'
import { pydantic1 } from '../../src/simulator/wire/pydantic1.ts'
import { foreignBody, noBody } from '../../src/simulator/wire/read-model.ts'

/** A broken body is quoted in the error no further than this, in characters. */
const longestQuote = 2000

/** Reads bodies within the service's bounds and complains of them in A1111's words. */
export function takeA1111Bodies (app: FastifyInstance): void {
  const parse = async (request: FastifyRequest, body: Buffer): Promise<unknown> => {
    if (body.length === 0) return noBody
    const type = request.headers['content-type'] ?? ''
    return type === '' || /^application\/([^;]*\+)?json\b/i.test(type.trim()) ? parseLikeA1111(body) : foreignBody
  }
  app.removeContentTypeParser('application/json')
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, parse)
  app.addContentTypeParser('*', { parseAs: 'buffer' }, parse)
}

function parseLikeA1111 (body: Buffer): unknown {
  try {
    return parseJson('The body', body)
  } catch (error) {
    if (!(error instanceof ServiceError) || error.details.position === undefined) throw error
    const { location, problem } = pydantic1.badJson(body.toString('utf8'))
    const ctx = { ...problem.ctx, doc: String(problem.ctx?.doc).slice(0, longestQuote) }
    throw new ValidationFailure([pydantic1.render(['body', location], {}, { ...problem, ctx })])
  }
}
