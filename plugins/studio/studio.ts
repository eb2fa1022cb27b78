import type { FastifyPluginAsync } from 'fastify'
import batch from './batch.ts'
import controlNet from './controlnet.ts'
import generate from './generate.ts'
import jobs, { type StudioJobsOptions } from './jobs.ts'
import loras from './loras.ts'
import models from './models.ts'
import presets from './presets.ts'
import queue from './queue.ts'
import { answerErrorsLikeFastApi, behaveLikeFastApi } from './scope.ts'
import sessions from './sessions.ts'
import socket, { type SocketOptions } from './socket.ts'

/** The interface of bots and phones, at the root. */
const studioRoutes: FastifyPluginAsync<SocketOptions & StudioJobsOptions> = async (app, options) => {
  const parts = {
    '/generate': generate,
    '/jobs': jobs,
    '/sessions': sessions,
    '/presets': presets,
    '/models': models,
    '/controlnet': controlNet,
    '/loras': loras,
    '/queue': queue
  }
  for (const [prefix, routes] of Object.entries(parts)) {
    await app.register(async scope => {
      behaveLikeFastApi(scope)
      await scope.register(routes, options)
      if (prefix === '/generate') await scope.register(batch, options)
    }, { prefix })
  }
  await app.register(async scope => {
    answerErrorsLikeFastApi(scope)
    await scope.register(socket, options)
  })
}

export default studioRoutes
