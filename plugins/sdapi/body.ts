import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseJson, type PartedJson } from '../../src/json/parse.ts'
import { ServiceError } from '../../src/errors.ts'
import { ValidationFailure } from '../../src/simulator/failures.ts'
import { pydantic1 } from '../../src/simulator/wire/pydantic1.ts'
import { foreignBody, noBody } from '../../src/simulator/wire/read-model.ts'

/** A broken body is quoted in the error no further than this, in characters. */
const longestQuote = 2000

/** Reads bodies within the service's bounds and complains of them in A1111's words. */
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
