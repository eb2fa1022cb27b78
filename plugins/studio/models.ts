import type { FastifyPluginAsync } from 'fastify'
import { Ref } from '../../schemas/kit.ts'
import { studioErrors } from '../../schemas/studio-job.ts'
import { StudioModels } from '../../schemas/studio-models.ts'
import { inventoriesOf } from '../../src/models/servers.ts'
import { unionOfLists } from '../../src/studio/lists.ts'

/** What there is to choose from. */
const models: FastifyPluginAsync = async app => {
  const { registry, states } = app

  app.get('/', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'studio_models',
      tags: ['Studio'],
      summary: 'What all servers together have',
      response: { 200: { ...Ref(StudioModels), description: 'Names, each once.' }, ...studioErrors() }
    }
  }, async () => unionOfLists((await inventoriesOf(registry, states)).map(({ inventory }) => inventory)))
}

export default models
