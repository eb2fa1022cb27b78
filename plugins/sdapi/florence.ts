import type { FastifyPluginAsync } from 'fastify'
import { ServiceError } from '../../src/errors.ts'
import { sendJson } from './call.ts'
import { readAskedWebhook } from './webhook.ts'

/** async-proxy's questions to Florence-2 about a picture. */
const florence: FastifyPluginAsync = async app => {
  const { florence: desk } = app

  app.post('/florence', {
    config: { access: { scope: 'jobs:write' } },
    schema: {
      tags: ['A1111'],
      operationId: 'a1111_florence',
      summary: 'Ask Florence-2 about a picture, as async-proxy does',
      description: 'Takes `imageUrl` and `task`, and if wanted `mode`, `prompt`, `webhookUrl` and `webhookKey`. The ' +
        'answer is 202 with the `uuid` of a job, whose `info` is what Florence says. Needs the setting FLORENCE_URL.'
    }
  }, async (request, reply) => {
    if (desk === null) {
      return sendJson(reply.code(404), {
        error: 'No Florence service is configured here; an administrator can name one in FLORENCE_URL.'
      })
    }
    try {
      const { id } = await desk.order(request.body, {
        keyId: request.principal.keyId,
        webhook: readAskedWebhook(request).webhook,
        baseUrl: `${request.protocol}://${request.host}`
      })
      return sendJson(reply.code(202).header('location', `/sdapi/v1/jobs/${id}`), { uuid: id })
    } catch (error) {
      if (!(error instanceof ServiceError) || error.status >= 500) throw error
      return sendJson(reply.code(error.status), { error: error.message })
    }
  })
}

export default florence
