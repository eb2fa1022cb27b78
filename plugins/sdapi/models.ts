import type { FastifyPluginAsync } from 'fastify'
import { ServiceError } from '../../src/errors.ts'
import type { Model, ModelType } from '../../src/models/model.ts'
import { checkpointDetails, loraDetails } from '../../src/sdapi/model-details.ts'
import { sendJson } from './call.ts'

/** async-proxy's details of one model; the lists are A1111's own. */
const models: FastifyPluginAsync = async app => {
  const { catalogue } = app

  function details (path: string, type: ModelType, missing: string, view: (model: Model) => unknown): void {
    app.get(`${path}/:id`, {
      config: { access: { scope: 'models:read' } },
      schema: {
        tags: ['A1111'],
        operationId: `a1111_${type}_details`,
        summary: `One ${type}, with what Civitai knows of it`,
        description: 'By its id in /api/v1/models, file name, title or hash.'
      }
    }, async (request, reply) => {
      const { id } = request.params as { id: string }
      try {
        return sendJson(reply, view(await catalogue.require(id, type)))
      } catch (error) {
        if (!(error instanceof ServiceError) || error.status >= 500) throw error
        return sendJson(reply.code(404), { error: missing })
      }
    })
  }

  details('/sd-models', 'checkpoint', 'Model not found', checkpointDetails)
  details('/loras', 'lora', 'LoRa not found', loraDetails)
}

export default models
