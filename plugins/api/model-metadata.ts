import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ModelInfo, RefreshAnswer, RefreshRequest, type ModelDetails } from '../../schemas/model-civitai.ts'
import { ModelReference, ModelType } from '../../schemas/model.ts'
import { idOf } from '../../src/models/civitai-facts.ts'
import { messageOf, ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import type { Model } from '../../src/model-facts/facts.ts'

/** Facts about a model, and asking Civitai for more. */
const modelMetadata: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, modelRefresher: refresher, modelViews: views } = app

  function info (model: Model, base: string) {
    const { civitai } = model.facts
    const view = views.one(model, base)
    const details: ModelDetails = {
      ...view,
      fullPath: view.path,
      hash: view.hash_autov2,
      civitai_data: view.civitai ?? null,
      model_version_id: view.civitai_version_id,
      civitai_name: civitai?.modelName ?? null,
      preview_images: view.previews,
      downloads: civitai?.stats?.downloads ?? null,
      favorited: civitai?.stats?.favorited ?? null,
      rating: civitai?.stats?.rating ?? null
    }
    return { ...details, success: true as const, model: details }
  }

  app.get('/api/v1/models/:id/info', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'models.getInfo',
      tags: ['Models'],
      summary: 'Everything about one model',
      description: 'In `model`, and the same at the top. With fetchFromCivitai=true the service asks Civitai if it has no stored answer; if Civitai does not answer, ' +
        'civitai_fetch_error says so and the rest is unchanged.',
      params: ModelReference,
      querystring: Type.Object({
        type: Type.Optional(ModelType),
        fetchFromCivitai: Type.Optional(Type.Boolean({ default: false, description: 'Whether to ask Civitai.' }))
      }),
      response: { 200: { ...Ref(ModelInfo), description: 'The model.' }, ...errorResponses(400, 403, 404, 409) }
    }
  }, async request => {
    const model = await catalogue.require(request.params.id, request.query.type)
    const asks = request.query.fetchFromCivitai === true && model.facts.civitai?.fetchedAt == null
    if (!asks) return info(model, request.base)
    try {
      return info(await refresher.refresh(model, { freshness: 'kept' }), request.base)
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return { ...info(model, request.base), civitai_fetch_error: messageOf(error) }
    }
  })

  for (const name of ['refresh-metadata', 'fetch-from-civitai']) {
    app.post(`/api/v1/models/:id/${name}`, {
      config: { access: { scope: 'models:write' } },
      schema: {
        operationId: name === 'refresh-metadata' ? 'models.refreshMetadata' : 'models.fetchFromCivitai',
        tags: ['Models'],
        summary: 'Ask Civitai about a model',
        description: 'By its hash, computed first if needed, or by the sent ids. The answer of Civitai is stored, also ' +
          'beside the file: all of it in `.civitai.json`; in Forge\'s own `.json` only the fields that Forge knows and nobody has ' +
          'written yet.',
        params: ModelReference,
        querystring: Type.Object({
          type: Type.Optional(ModelType),
          force: Type.Optional(Type.Boolean({ description: 'Whether to ask again although an answer is stored.', default: true }))
        }),
        body: Type.Optional(Type.Union([Ref(RefreshRequest), Type.Null()])),
        response: {
          200: { ...Ref(RefreshAnswer), description: 'Civitai knows it.' }, ...errorResponses(400, 403, 404, 409, 502)
        }
      }
    }, async request => {
      const model = await catalogue.require(request.params.id, request.query.type)
      const versionId = idOf(request.body?.modelVersionId)
      const modelId = idOf(request.body?.modelId)
      const after = await refresher.refresh(model, {
        freshness: request.query.force === false ? 'kept' : 'fresh',
        ...(versionId === null ? {} : { versionId }),
        ...(modelId === null ? {} : { modelId })
      })
      const { civitai, baseModel, triggerWords } = after.facts
      return {
        success: true as const,
        message: `Civitai knows ${after.filename} as ${civitai?.modelName ?? 'a model without name'}.`,
        metadata: {
          model_name: civitai?.modelName ?? null,
          version_name: civitai?.versionName ?? null,
          base_model: baseModel,
          civitai_id: civitai?.modelId ?? null,
          civitai_version_id: civitai?.versionId ?? null,
          trained_words: [...triggerWords]
        },
        model: {
          ...views.one(after, request.base),
          modelVersionId: civitai?.versionId ?? null,
          update_timestamp: iso(civitai?.fetchedAt)
        }
      }
    })
  }
}

export default modelMetadata
