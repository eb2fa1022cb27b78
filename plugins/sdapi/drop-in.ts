import type { FastifyPluginAsync } from 'fastify'
import type { DropIn } from '../../src/sdapi/drop-in.ts'
import { keepLastAnswers } from '../core/last-answers.ts'
import assets from './assets.ts'
import { takeA1111Bodies } from './body.ts'
import { basePaths, type BasePath } from './call.ts'
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

  const keepAnswer = keepLastAnswers(app)

  // Clients that can set no more than the address of their server say by its path what they are.
  for (const [path, base] of Object.entries(basePaths) as Array<[BasePath, string]>) {
    await app.register(async at => {
      if (path !== 'plain') {
        at.addHook('onRoute', route => { route.schema = { ...route.schema, hide: true } })
        // Some look at the address itself to find out whether anything is there.
        at.get('/', { config: { access: 'public' } }, async (_request, reply) => reply.redirect('/'))
      }
      await at.register(async scope => {
        behaveLikeA1111(scope)
        await scope.register(generations, { dropIn, path, keepAnswer })
        await scope.register(control, { dropIn })
        await scope.register(jobs, { dropIn, path })
        await scope.register(lists, { dropIn })
        await scope.register(models, { dropIn })
        await scope.register(assets, { dropIn })
        await scope.register(florence, { dropIn })
        await scope.register(passThrough, { dropIn })
      }, { prefix: '/sdapi/v1' })
      await at.register(async scope => {
        takeA1111Bodies(scope)
        answerErrorsLikeA1111(scope)
        await scope.register(controlNet, { dropIn })
        await scope.register(internal, { dropIn })
        await scope.register(openedRoutes, { dropIn, base })
      })
      await at.register(probes, { dropIn })
    }, { prefix: base })
  }
  await app.register(publicRoutes, { dropIn })
}

export default dropInRoutes
