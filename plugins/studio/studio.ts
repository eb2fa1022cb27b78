import type { FastifyPluginAsync } from 'fastify'
import type { Studio } from '../../src/studio/studio.ts'
import generate from './generate.ts'
import jobs from './jobs.ts'
import { behaveLikeFastApi } from './scope.ts'
import sessions from './sessions.ts'

/** The interface of bots and phones, at the root. */
const studioRoutes: FastifyPluginAsync<{ readonly studio: Studio }> = async (app, options) => {
  for (const [prefix, routes] of [['/generate', generate], ['/jobs', jobs], ['/sessions', sessions]] as const) {
    await app.register(async scope => {
      behaveLikeFastApi(scope)
      await scope.register(routes, options)
    }, { prefix })
  }
}

export default studioRoutes
