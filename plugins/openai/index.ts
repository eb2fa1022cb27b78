import fp from 'fastify-plugin'
import { keepLastAnswers } from '../core/held-requests.ts'
import images from './images.ts'
import models from './models.ts'
import results from './results.ts'
import { behaveLikeOpenAi } from './scope.ts'

/** The routes for clients of OpenAI's images API. */
export default fp(async app => {
  const keepAnswer = keepLastAnswers(app)
  await app.register(async scope => {
    behaveLikeOpenAi(scope)
    await scope.register(images, { keepAnswer })
    await scope.register(models)
    await scope.register(results)
  }, { prefix: '/v1' })
}, { name: 'openai', fastify: '5.x', encapsulate: true, dependencies: ['core', 'job-services', 'event-services', 'studio-services'] })
