import fp from 'fastify-plugin'
import { keepLastAnswers } from '../core/held-requests.ts'
import { type BasePath, basePaths } from './call.ts'
import control, { internal } from './control.ts'
import generations, { florence } from './generations.ts'
import jobs, { assets } from './jobs.ts'
import lists, { models, probes } from './lists.ts'
import { controlNet, openedRoutes, passThrough } from './pass-through.ts'
import publicRoutes from './public.ts'
import { answerErrorsLikeA1111, behaveLikeA1111, takeA1111Bodies } from './scope.ts'

/** The routes for A1111's clients, and for those of async-proxy and Job Tracker. */
export default fp(async app => {
  const keepAnswer = keepLastAnswers(app)

  // Clients that can set only the address of their server identify themselves by its path.
  for (const [path, base] of Object.entries(basePaths) as Array<[BasePath, string]>) {
    await app.register(async at => {
      if (path !== 'plain') {
        at.addHook('onRoute', route => { route.schema = { ...route.schema, hide: true } })
        // Some request the address itself to find out whether a server is there.
        at.get('/', { config: { access: 'public' } }, async (_request, reply) => reply.redirect('/'))
      }
      await at.register(async scope => {
        behaveLikeA1111(scope)
        await scope.register(generations, { path, keepAnswer })
        await scope.register(control)
        await scope.register(jobs, { path })
        await scope.register(lists)
        await scope.register(models)
        await scope.register(assets)
        await scope.register(florence)
        await scope.register(passThrough)
      }, { prefix: '/sdapi/v1' })
      await at.register(async scope => {
        takeA1111Bodies(scope)
        answerErrorsLikeA1111(scope)
        await scope.register(controlNet)
        await scope.register(internal)
        await scope.register(openedRoutes, { base })
      })
      await at.register(probes)
    }, { prefix: base })
  }
  await app.register(publicRoutes)
}, { name: 'sdapi', fastify: '5.x', encapsulate: true, dependencies: ['core', 'job-services', 'sdapi-services'] })
