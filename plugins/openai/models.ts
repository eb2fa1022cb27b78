import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { Ref } from '../../schemas/kit.ts'
import { OpenAiModel, OpenAiModelList } from '../../schemas/openai.ts'
import { findCheckpoint, listCheckpoints } from '../../src/openai/models.ts'
import { openAiErrors } from './scope.ts'

const config = { access: { scope: 'models:read', bucket: 'status' } } as const

/** The checkpoints of all servers, as OpenAI lists its models. */
const models: FastifyPluginAsyncTypebox = async app => {
  const { catalogue } = app

  app.get('/models', {
    config,
    schema: {
      operationId: 'openai.listModels',
      tags: ['OpenAI'],
      summary: 'List the checkpoints as OpenAI lists its models',
      description: 'Checkpoints that a server has. Their ids are values of `model`.',
      response: { 200: { ...Ref(OpenAiModelList), description: 'The checkpoints.' }, ...openAiErrors }
    }
  }, async () => ({ object: 'list' as const, data: await listCheckpoints(catalogue) }))

  app.get('/models/:id', {
    config,
    schema: {
      operationId: 'openai.getModel',
      tags: ['OpenAI'],
      summary: 'One checkpoint as OpenAI shows a model',
      description: 'Found by any of its names.',
      params: Type.Object({ id: Type.String({ description: 'Id, name, path or hash.', examples: ['juggernaut-xl'] }) }),
      response: { 200: { ...Ref(OpenAiModel), description: 'The checkpoint.' }, ...openAiErrors }
    }
  }, async ({ params }) => await findCheckpoint(catalogue, params.id))
}

export default models
