import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Done } from '../../schemas/job.ts'
import { Closed, Ref, StringEnum } from '../../schemas/kit.ts'
import {
  ChoiceView, ModelAnswer, ModelListView, ModelQuery, ModelReference, ModelType, modelTypes, ModelView
} from '../../schemas/model.ts'
import { pageOf } from '../../src/lib/page-of.ts'
import { choiceKinds, listChoices, selectModels } from '../../src/models/catalogue.ts'
import { pathIn } from '../../src/models/folders.ts'
import { imageNotFound, imagesOf, readImage } from '../../src/models/images.ts'
import { ownerFields } from '../../src/models/sidecars.ts'
import { emptyAnswer, emptyIfMissing, missingParameter } from '../core/empty-if-missing.ts'
import { imageAnswers, sendImage } from '../core/send-image.ts'

/** Models in StableQueue's documents. */
const defaultTypes = ['checkpoint', 'lora'] as const

const reading = { access: { scope: 'models:read' } } as const

/** Models of all servers and folders: the list, and each entry. */
const models: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, registry, modelViews: views } = app

  app.get('/api/v1/models', {
    config: reading,
    schema: {
      operationId: 'models.list',
      tags: ['Models'],
      summary: 'List models',
      description: 'Models of the servers and of the model folders, joined by hash and path. The route ' +
        'asks no server and scans nothing.',
      querystring: ModelQuery,
      response: { 200: { ...Ref(ModelListView), description: 'One page.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { limit = 1000, offset, cursor, server, type, ...filters } = request.query
    const { begin, next } = pageOf({ limit, offset, cursor })
    const serverId = server === undefined ? undefined : registry.require(server, 'server').id
    const types = type === undefined ? defaultTypes : type === 'all' ? modelTypes : [type]
    const wanted = { ...filters, types, ...(serverId === undefined ? {} : { serverId }) }
    const found = selectModels(await catalogue.state(), wanted)
    const page = found.slice(begin, begin + limit).map(model => views.one(model, request.base))
    const total = found.length
    return { success: true as const, total, count: page.length, models: page, next_cursor: next(total) }
  })

  app.get('/api/v1/models/:id', {
    config: reading,
    schema: {
      operationId: 'models.get',
      tags: ['Models'],
      summary: 'One model',
      params: ModelReference,
      querystring: Type.Object({ type: Type.Optional(ModelType) }),
      response: { 200: { ...Ref(ModelAnswer), description: 'The model.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async ({ params, query, base }) => ({
    success: true as const, model: views.one(await catalogue.require(params.id, query.type), base)
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
        operationId: `${path}.list`,
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
      const found = selectModels(await catalogue.state(), wanted).slice(offset, offset + limit)
      return found.map(model => views.one(model, request.base))
    })
  }
}

export default models

/** Samplers, schedulers and upscalers of all servers together. */
export const choices: FastifyPluginAsyncTypebox = async app => {
  const { registry, states } = app

  for (const kind of choiceKinds) {
    app.get(`/api/v1/${kind}`, {
      config: { access: { scope: 'models:read' } },
      schema: {
        operationId: `${kind}.list`,
        tags: ['Models'],
        summary: `List the ${kind} of all servers`,
        description: 'A bare array; each with the servers that offer it.',
        response: { 200: Type.Array(Ref(ChoiceView), { description: 'In the servers\' order.' }), ...errorResponses(403) }
      }
    }, async () => (await listChoices(kind, { registry, states })).map(({ aliases, servers, ...rest }) =>
      ({ ...rest, aliases: [...aliases], servers: [...servers] })))
  }
}

/** Images of models. */
export const modelPreviews: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, civitaiImages: images } = app

  app.get('/api/v1/models/:id/preview', {
    config: { access: { scope: 'models:read', bucket: 'status' } },
    errorHandler: emptyIfMissing,
    schema: {
      operationId: 'models.getPreview',
      tags: ['Models'],
      summary: 'A picture of a model',
      description: 'Those of Civitai are fetched once and then kept here.',
      params: ModelReference,
      querystring: Type.Object({
        index: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, default: 0, description: 'Which of its pictures.' })),
        type: Type.Optional(ModelType),
        ...missingParameter
      }),
      response: {
        ...imageAnswers,
        ...emptyAnswer,
        ...errorResponses(400, 403, 404, 409, 502)
      }
    }
  }, async (request, reply) => {
    const { index = 0, type } = request.query
    const chosen = imagesOf(await catalogue.require(request.params.id, type))[index]
    if (chosen === undefined) throw imageNotFound()
    const image = chosen.from === 'folder'
      ? await readImage(chosen.file, chosen.name)
      : await images.read(chosen.image.url)
    return await sendImage(request, reply, image)
  })
}

const writing = { access: { scope: 'models:write' } } as const

/** Owners' values for their models, and rebuilding the catalogue. */
export const modelOwner: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, modelService: service, maintenance, modelViews: views } = app

  app.put('/api/v1/models/update-field', {
    config: writing,
    schema: {
      operationId: 'models.updateField',
      tags: ['Models'],
      summary: 'Save your notes of a model',
      description: 'Beside its file: in Forge\'s own .json if Forge knows the field, otherwise in .civitai.json. It overrides ' +
        'the data of Civitai, stays when Civitai is asked again, and null removes it.',
      body: Closed({
        filename: Type.String({ maxLength: 255, description: 'Its file name.' }),
        local_path: Type.Optional(Type.String({ maxLength: 1024, description: 'Its local_path or relativePath, if it is in a folder.' })),
        type: Type.Optional(ModelType),
        field: StringEnum(ownerFields, { description: 'What it is about.' }),
        value: Type.Unknown({ description: 'A flag for civitai_nsfw, a number for recommended_weight, else a text; or null.' })
      }, { examples: [{ filename: 'film-grain.safetensors', field: 'civitai_nsfw', value: false }] }),
      response: { 200: { ...Ref(ModelAnswer), description: 'As it is now.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async request => {
    const { filename, local_path: folder = '', type, field, value } = request.body
    const model = await catalogue.require(pathIn(folder, filename), type)
    return { success: true as const, model: views.one(await service.setField(model, field, value), request.base) }
  })

  app.post('/api/v1/models/reset-database', {
    config: writing,
    schema: {
      operationId: 'models.reset',
      tags: ['Models'],
      summary: 'Forget all data of model files, and scan again',
      description: 'Hashes and what Civitai said go; files, sidecars and what servers report stay.',
      response: { 200: { ...Ref(Done), description: 'What was forgotten.' }, ...errorResponses(403) }
    }
  }, async () => {
    const count = await service.forgetAll()
    if (service.folders.length > 0) await maintenance.requestScan()
    const what = `${count} model file${count === 1 ? ' was' : 's were'} forgotten`
    return { success: true as const, message: service.folders.length > 0 ? `${what}; a scan finds them again.` : `${what}.` }
  })
}
