import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ModelAnswer, ModelListView, ModelQuery, ModelReference, ModelType, ModelView, modelTypes } from '../../schemas/model.ts'
import { selectModels } from '../../src/models/select.ts'

/** What the documents of StableQueue call models. */
const usualTypes = ['checkpoint', 'lora'] as const

const reading = { access: { scope: 'models:read' } } as const

/** Models of all servers and folders: one list, and each of its entries. */
const models: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, registry, modelViews: views } = app

  app.get('/api/v1/models', {
    config: reading,
    schema: {
      operationId: 'list_models',
      tags: ['Models'],
      summary: 'List models',
      description: 'Models of the servers and of the model folders, joined by hash and path. The route ' +
        'asks no server and scans nothing.',
      querystring: ModelQuery,
      response: { 200: { ...Ref(ModelListView), description: 'One page.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { limit = 1000, offset = 0, server, type, ...filters } = request.query
    const serverId = server === undefined ? undefined : registry.require(server, 'server').id
    const types = type === undefined ? usualTypes : type === 'all' ? modelTypes : [type]
    const wanted = { ...filters, types, ...(serverId === undefined ? {} : { serverId }) }
    const found = selectModels(await catalogue.state(), wanted)
    const page = found.slice(offset, offset + limit).map(views.one)
    return { success: true as const, total: found.length, count: page.length, models: page }
  })

  app.get('/api/v1/models/:id', {
    config: reading,
    schema: {
      operationId: 'get_model',
      tags: ['Models'],
      summary: 'One model',
      params: ModelReference,
      querystring: Type.Object({ type: Type.Optional(ModelType) }),
      response: { 200: { ...Ref(ModelAnswer), description: 'The model.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async request => ({
    success: true as const, model: views.one(await catalogue.require(request.params.id, request.query.type))
  }))

  for (const { path, type, what } of [
    { path: 'checkpoints', type: 'checkpoint', what: 'checkpoints' },
    { path: 'loras', type: 'lora', what: 'LoRAs' },
    { path: 'vaes', type: 'vae', what: 'VAEs' },
    { path: 'embeddings', type: 'embedding', what: 'embeddings' }
  ] as const) {
    app.get(`/api/v1/${path}`, {
      config: reading,
      schema: {
        operationId: `list_${path}`,
        tags: ['Models'],
        summary: `List the ${what}`,
        description: 'A bare array, as its clients expect; the same entries as in /api/v1/models.',
        querystring: Type.Omit(ModelQuery, ['type']),
        response: {
          200: Type.Array(Ref(ModelView), { description: 'By name, or best first with search.' }),
          ...errorResponses(400, 403, 404)
        }
      }
    }, async request => {
      const { limit = 10_000, offset = 0, server, ...filters } = request.query
      const serverId = server === undefined ? undefined : registry.require(server, 'server').id
      const wanted = { ...filters, types: [type], ...(serverId === undefined ? {} : { serverId }) }
      return selectModels(await catalogue.state(), wanted).slice(offset, offset + limit).map(views.one)
    })
  }
}

export default models
