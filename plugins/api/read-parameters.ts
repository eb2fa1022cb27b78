import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ParametersToRead, ReadParameters } from '../../schemas/generation-parameters.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { parametersOf, readImage, readText } from '../../src/media/generation-text.ts'

/** Parameters of an image, in the form's names. */
const readParametersRoute: FastifyPluginAsyncTypebox = async app => {
  app.post('/api/v1/read-parameters', {
    config: { access: { scope: 'images:read' } },
    schema: {
      operationId: 'read_parameters',
      tags: ['Generate'],
      summary: 'Read the parameters inside a picture or a text',
      description: 'Nothing is kept. The fields go into generation_params of a job as they are.',
      body: Ref(ParametersToRead),
      response: { 200: { ...Ref(ReadParameters), description: 'What was found.' }, ...errorResponses(400, 403, 413, 422) }
    }
  }, async request => {
    const { image, text } = request.body
    if ((image === undefined) === (text === undefined)) {
      throw new ServiceError('missing_required_field', 'Send either image or text, not both.', { field: 'image' })
    }
    const { source, text: found, infotext, notes } = text === undefined ? await readImage(image ?? '') : readText(text)
    return {
      success: true as const,
      text: found,
      generation_params: parametersOf(infotext),
      ...(source === null ? {} : { source }),
      ...(notes.length === 0 ? {} : { notes: [...notes] })
    }
  })
}

export default readParametersRoute
