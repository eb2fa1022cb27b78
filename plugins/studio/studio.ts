import type { FastifyPluginAsync } from 'fastify'
import type { Studio } from '../../src/studio/studio.ts'
import batch from './batch.ts'
import controlNet from './controlnet.ts'
import generate from './generate.ts'
import jobs from './jobs.ts'
import loras from './loras.ts'
import models from './models.ts'
import presets from './presets.ts'
import { behaveLikeFastApi } from './scope.ts'
import sessions from './sessions.ts'

/** The interface of bots and phones, at the root. */
const studioRoutes: FastifyPluginAsync<{ readonly studio: Studio }> = async (app, options) => {
  const parts = {
    '/generate': generate,
    '/jobs': jobs,
    '/sessions': sessions,
    '/presets': presets,
    '/models': models,
    '/controlnet': controlNet,
    '/loras': loras
  }
  for (const [prefix, routes] of Object.entries(parts)) {
    await app.register(async scope => {
      behaveLikeFastApi(scope)
      await scope.register(routes, options)
      if (prefix === '/generate') await scope.register(batch, options)
    }, { prefix })
  }
}

export default studioRoutes
