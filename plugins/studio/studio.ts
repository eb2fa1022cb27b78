import type { FastifyPluginAsync } from 'fastify'
import type { Studio } from '../../src/studio/studio.ts'
import controlNet from './controlnet.ts'
import generate from './generate.ts'
import jobs from './jobs.ts'
import loras from './loras.ts'
import { behaveLikeFastApi } from './scope.ts'
import sessions from './sessions.ts'

/** The interface of bots and phones, at the root. */
const studioRoutes: FastifyPluginAsync<{ readonly studio: Studio }> = async (app, options) => {
  const parts = [
    ['/generate', generate], ['/jobs', jobs], ['/sessions', sessions], ['/controlnet', controlNet],
    ['/loras', loras]
  ] as const
  for (const [prefix, routes] of parts) {
    await app.register(async scope => {
      behaveLikeFastApi(scope)
      await scope.register(routes, options)
    }, { prefix })
  }
}

export default studioRoutes
