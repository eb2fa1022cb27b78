import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { ModelReference, ModelType } from '../../schemas/model.ts'
import type { CivitaiPictures } from '../../src/civitai/pictures.ts'
import { imageFormats } from '../../src/media/image-header.ts'
import type { Catalogue } from '../../src/models/catalogue.ts'
import { picturesOf } from '../../src/models/pictures.ts'
import { noPicture, readPicture } from '../../src/models/read-picture.ts'
import { isUnchanged, versionOf } from '../core/conditional-requests.ts'

export interface ModelPreviewsOptions {
  readonly catalogue: Catalogue
  readonly pictures: CivitaiPictures
}

const picture = {
  content: Object.fromEntries(Object.values(imageFormats).map(({ mime }) =>
    [mime, { schema: { type: 'string', format: 'binary' } }]))
}

/** Pictures of models: shown as pictures only, whatever is in the files. */
const modelPreviews: FastifyPluginAsyncTypebox<ModelPreviewsOptions> = async (app, { catalogue, pictures }) => {
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
        200: { description: 'The picture.', ...picture },
        304: { description: 'The picture is the one that the caller has.', type: 'null' },
        ...errorResponses(400, 403, 404, 409, 502)
      }
    }
  }, async (request, reply) => {
    const { index = 0, type } = request.query
    const chosen = picturesOf(await catalogue.require(request.params.id, type))[index]
    if (chosen === undefined) throw noPicture()
    const { mime, bytes, modifiedAt } = chosen.from === 'folder'
      ? await readPicture(chosen.file, chosen.name)
      : await pictures.read(chosen.image.url)
    const version = versionOf({ bytes: bytes.length, modifiedAt })
    reply.headers({
      etag: version.tag,
      'last-modified': modifiedAt.toUTCString(),
      'cache-control': 'private, max-age=60',
      'content-security-policy': "default-src 'none'; sandbox",
      'x-content-type-options': 'nosniff'
    })
    if (isUnchanged(request.headers, version)) return await reply.code(304).send()
    return await reply.type(mime).send(bytes)
  })
}

export default modelPreviews
