import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { requireLink } from '../../src/openai/answer.ts'
import { sendOutput } from '../core/outputs.ts'

/** Where links to results lead, below the address of this service. */
export const resultsPath = '/v1/images/results'

/** Result images by the links of answers. Unlike `/outputs`, the link counts here and nothing else does. */
const results: FastifyPluginAsyncTypebox = async app => {
  const { imageUrls, media } = app

  app.get('/images/results/:name', {
    // the handler checks the link, so that no other way in replaces it
    config: { access: { scope: 'images:read', bucket: 'status', unless: () => true } },
    schema: {
      hide: true,
      params: Type.Object({ name: Type.String() }),
      querystring: Type.Object({ exp: Type.Optional(Type.String()), sig: Type.Optional(Type.String()) })
    }
  }, async (request: FastifyRequest, reply) => {
    const { name } = request.params as { name: string }
    const query = request.query as { exp?: string, sig?: string }
    requireLink(imageUrls.fits(name, query), query.exp)
    return await sendOutput(request, reply, name, await media.openOutput(name))
  })
}

export default results
