import type { FastifyPluginAsync } from 'fastify'
import type { DropIn } from '../../src/sdapi/drop-in.ts'
import generations from './generations.ts'
import { behaveLikeA1111 } from './scope.ts'

export interface DropInOptions {
  readonly dropIn: DropIn
}

/** Everything that speaks to A1111's clients, and to those of async-proxy and Job Tracker. */
const dropInRoutes: FastifyPluginAsync<DropInOptions> = async (app, { dropIn }) => {
  app.addHook('onClose', async () => { await dropIn.close() })

  for (const [prefix, path] of [['/sdapi/v1', 'plain'], ['/async/sdapi/v1', 'async']] as const) {
    await app.register(async scope => {
      behaveLikeA1111(scope)
      await scope.register(generations, { dropIn, path })
    }, { prefix })
  }
}

export default dropInRoutes
