import type { FastifyPluginAsync } from 'fastify'
import type { DropIn } from '../../src/sdapi/drop-in.ts'
import assets from './assets.ts'
import { takeA1111Bodies } from './body.ts'
import control from './control.ts'
import florence from './florence.ts'
import generations from './generations.ts'
import internal from './internal.ts'
import jobs from './jobs.ts'
import lists from './lists.ts'
import models from './models.ts'
import { controlNet, openedRoutes, passThrough } from './pass-through.ts'
import probes from './probes.ts'
import publicRoutes from './public.ts'
import { answerErrorsLikeA1111, behaveLikeA1111 } from './scope.ts'

export interface DropInOptions {
  readonly dropIn: DropIn
}

/** Everything that speaks to A1111's clients, and to those of async-proxy and Job Tracker. */
const dropInRoutes: FastifyPluginAsync<DropInOptions> = async (app, { dropIn }) => {
  app.addHook('onClose', async () => { await dropIn.close() })

  for (const [prefix, path] of [['/sdapi/v1', 'plain'], ['/async/sdapi/v1', 'async']] as const) {
    await app.register(async scope => {
      behaveLikeA1111(scope)
      if (path === 'async') scope.addHook('onRoute', route => { route.schema = { ...route.schema, hide: true } })
      await scope.register(generations, { dropIn, path })
      await scope.register(control, { dropIn })
      await scope.register(jobs, { dropIn, path })
      await scope.register(lists, { dropIn })
      await scope.register(models, { dropIn })
      await scope.register(assets, { dropIn })
      await scope.register(florence, { dropIn })
      await scope.register(passThrough, { dropIn })
    }, { prefix })
  }
  await app.register(async scope => {
    takeA1111Bodies(scope)
    answerErrorsLikeA1111(scope)
    await scope.register(controlNet, { dropIn })
    await scope.register(internal, { dropIn })
    await scope.register(openedRoutes, { dropIn })
  })
  await app.register(probes)
  await app.register(publicRoutes, { dropIn })
}

export default dropInRoutes
