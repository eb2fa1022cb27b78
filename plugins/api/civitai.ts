import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Closed, Ref } from '../../schemas/kit.ts'
import { CivitaiUser, ImageInfoView } from '../../schemas/model-civitai.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { textOf } from '../../src/lib/json-values.ts'
import { findResource, idOf, imageIdOf, readImageInfo } from '../../src/models/civitai-facts.ts'

const answer = {
  200: { ...Ref(ImageInfoView), description: 'How it was made.' }, ...errorResponses(400, 403, 404, 502)
}

/** Civitai beyond single models: the owner of the key, and the parameters of an image there. */
const civitaiRoutes: FastifyPluginAsyncTypebox = async app => {
  const { civitai, catalogue } = app

  app.get('/api/v1/civitai/user-info', {
    config: { access: { scope: 'models:write' } },
    schema: {
      operationId: 'civitai.getUser',
      tags: ['Models'],
      summary: 'Whose key of Civitai is set',
      response: { 200: { ...Ref(CivitaiUser), description: 'Theirs.' }, ...errorResponses(403, 502) }
    }
  }, async () => {
    const user = await civitai.user()
    return { success: true as const, username: textOf(user.username), id: idOf(user.id), email: textOf(user.email) }
  })

  async function info (reference: string, field: string) {
    const id = imageIdOf(reference, field)
    const image = await civitai.image(id)
    const found = image === null ? null : readImageInfo(image)
    if (found === null) {
      throw new ServiceError('civitai_not_found', image === null
        ? `Civitai shows no picture ${id}.`
        : `Civitai has no parameters of picture ${id}.`)
    }
    const { models } = await catalogue.state()
    return {
      success: true as const,
      generationParams: { ...found.parameters },
      resources: found.resources.map(resource => {
        const model = findResource(resource, models)
        return {
          resourceName: resource.name,
          type: resource.type,
          civitaiModelVersionId: resource.versionId,
          weight: resource.weight,
          isLocal: model !== undefined,
          model_id: model?.id ?? null
        }
      })
    }
  }

  app.get('/api/v1/civitai/image-info', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'civitai.getImage',
      tags: ['Models'],
      summary: 'How a picture at Civitai was made',
      querystring: Type.Object({
        imageId: Type.String({ maxLength: 300, description: 'Its number, or the address of its page.' })
      }),
      response: answer
    }
  }, async request => await info(request.query.imageId, 'imageId'))

  app.post('/api/v1/civitai/image-info', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'civitai.findImage',
      tags: ['Models'],
      summary: 'How a picture at Civitai was made',
      description: 'As older clients request it.',
      body: Closed({
        civitaiImageId: Type.Union([Type.Integer({ minimum: 1 }), Type.String({ maxLength: 300 })], {
          description: 'Its number, or the address of its page.'
        })
      }),
      response: answer
    }
  }, async request => await info(String(request.body.civitaiImageId), 'civitaiImageId'))
}

export default civitaiRoutes
