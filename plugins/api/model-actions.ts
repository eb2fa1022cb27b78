import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { HashAnswer } from '../../schemas/model-scan.ts'
import { ModelAnswer, ModelReference } from '../../schemas/model.ts'
import type { Catalogue } from '../../src/models/catalogue.ts'
import type { ModelDesk } from '../../src/models/desk.ts'
import type { ModelViews } from './model-views.ts'

export interface ModelActionsOptions {
  readonly catalogue: Catalogue
  readonly desk: ModelDesk
  readonly views: ModelViews
}

const writing = { access: { scope: 'models:write' } } as const

/** What can be done with one model's files. */
const modelActions: FastifyPluginAsyncTypebox<ModelActionsOptions> = async (app, { catalogue, desk, views }) => {
  app.post('/api/v1/models/:id/calculate-hash', {
    config: writing,
    schema: {
      operationId: 'calculate_model_hash',
      tags: ['Models'],
      summary: 'Hash a model\'s file now',
      description: 'Answers when it is done, which takes seconds for each gigabyte.',
      params: ModelReference,
      response: { 200: { ...Ref(HashAnswer), description: 'The hashes.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async (request, reply) => {
    const model = await catalogue.require(request.params.id)
    const left = new AbortController()
    reply.raw.on('close', () => left.abort())
    const begin = performance.now()
    const { sha256, autoV3, size } = await desk.calculateHash(model, left.signal)
    return {
      success: true as const,
      message: `${model.filename} was hashed.`,
      hash: sha256,
      hash_autov2: sha256.slice(0, 10),
      hash_autov3: autoV3,
      fileSize: size,
      calculationTime: Math.round(performance.now() - begin)
    }
  })

  app.post('/api/v1/models/:id/rescan', {
    config: writing,
    schema: {
      operationId: 'rescan_model',
      tags: ['Models'],
      summary: 'Read a model\'s header, sidecars and previews anew',
      params: ModelReference,
      body: Type.Optional(Type.Object({}, { additionalProperties: true, description: 'Nothing is needed.' })),
      response: { 200: { ...Ref(ModelAnswer), description: 'As it is now.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async request => {
    const model = await desk.rescan(await catalogue.require(request.params.id))
    return { success: true as const, model: views.one(model) }
  })
}

export default modelActions
