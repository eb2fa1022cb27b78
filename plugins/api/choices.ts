import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ChoiceView } from '../../schemas/model.ts'
import { choiceKinds, listChoices } from '../../src/models/choices.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import type { ServerStateStore } from '../../src/servers/state-store.ts'

export interface ChoicesOptions {
  readonly registry: ServerRegistry
  readonly states: ServerStateStore
}

/** Samplers, schedulers and upscalers of all servers together. */
const choices: FastifyPluginAsyncTypebox<ChoicesOptions> = async (app, options) => {
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
    }, async () => (await listChoices(kind, options)).map(({ aliases, servers, ...rest }) =>
      ({ ...rest, aliases: [...aliases], servers: [...servers] })))
  }
}

export default choices
