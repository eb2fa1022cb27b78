import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ChoiceView } from '../../schemas/model.ts'
import { choiceKinds, listChoices } from '../../src/models/choices.ts'

/** Samplers, schedulers and upscalers of all servers together. */
const choices: FastifyPluginAsyncTypebox = async app => {
  const { registry, states } = app

  for (const kind of choiceKinds) {
    app.get(`/api/v1/${kind}`, {
      config: { access: { scope: 'models:read' } },
      schema: {
        operationId: `list_${kind}`,
        tags: ['Models'],
        summary: `List the ${kind} of all servers`,
        description: 'A bare array; each with the servers that offer it.',
        response: { 200: Type.Array(Ref(ChoiceView), { description: 'In the servers\' order.' }), ...errorResponses(403) }
      }
    }, async () => (await listChoices(kind, { registry, states })).map(({ aliases, servers, ...rest }) =>
      ({ ...rest, aliases: [...aliases], servers: [...servers] })))
  }
}

export default choices
