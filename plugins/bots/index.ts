import fp from 'fastify-plugin'
import batch, { generate } from './batch.ts'
import controlNet from './controlnet.ts'
import jobs, { models, queue } from './jobs.ts'
import loras from './loras.ts'
import presets from './presets.ts'
import { answerErrorsLikeFastApi, behaveLikeFastApi } from './scope.ts'
import sessions from './sessions.ts'
import socket from './socket.ts'

const parts = {
  '/generate': [generate, batch],
  '/jobs': [jobs],
  '/sessions': [sessions],
  '/presets': [presets],
  '/models': [models],
  '/controlnet': [controlNet],
  '/loras': [loras],
  '/queue': [queue]
}

/** The interface of bots and phones, at the root. */
export default fp(async app => {
  for (const [prefix, routes] of Object.entries(parts)) {
    await app.register(async scope => {
      behaveLikeFastApi(scope)
      for (const part of routes) await scope.register(part)
    }, { prefix })
  }
  await app.register(async scope => {
    answerErrorsLikeFastApi(scope)
    await scope.register(socket)
  })
}, { name: 'studio', fastify: '5.x', encapsulate: true, dependencies: ['core', 'event-services', 'studio-services'] })
