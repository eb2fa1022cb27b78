import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { ModelReference, ModelType } from '../../schemas/model.ts'
import { picturesOf } from '../../src/models/pictures.ts'
import { noPicture, readPicture } from '../../src/models/read-picture.ts'
import { pictureAnswers, sendPicture } from '../core/send-picture.ts'

/** Pictures of models. */
const modelPreviews: FastifyPluginAsyncTypebox = async app => {
  const { catalogue, civitaiPictures: pictures } = app

  app.get('/api/v1/models/:id/preview', {
    config: { access: { scope: 'models:read', bucket: 'status' } },
    schema: {
      operationId: 'get_model_preview',
      tags: ['Models'],
      summary: 'A picture of a model',
      description: 'Those of Civitai are fetched once and then kept here.',
      params: ModelReference,
      querystring: Type.Object({
        index: Type.Optional(Type.Integer({ minimum: 0, maximum: 1000, default: 0, description: 'Which of its pictures.' })),
        type: Type.Optional(ModelType)
      }),
      response: {
        ...pictureAnswers,
        ...errorResponses(400, 403, 404, 409, 502)
      }
    }
  }, async (request, reply) => {
    const { index = 0, type } = request.query
    const chosen = picturesOf(await catalogue.require(request.params.id, type))[index]
    if (chosen === undefined) throw noPicture()
    const picture = chosen.from === 'folder'
      ? await readPicture(chosen.file, chosen.name)
      : await pictures.read(chosen.image.url)
    return await sendPicture(request, reply, picture)
  })
}

export default modelPreviews
