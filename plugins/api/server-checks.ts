import { randomUUID } from 'node:crypto'
import { Type } from '@sinclair/typebox'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Ref } from '../../schemas/kit.ts'
import { ServerCheckOptions, ServerCheckView } from '../../schemas/server-check.ts'
import { ServiceError } from '../../src/lib/errors.ts'

const Alias = Type.Object({ alias: Type.String({ description: 'Name of the server.', maxLength: 64 }) })
const admins = { access: { scope: 'servers:admin' } } as const
const bases = ['/api/v2/servers', '/api/v1/servers'] as const

/** Thorough checks of servers. The worker that serves the server runs them, in whatever process it is. */
const serverChecks: FastifyPluginAsyncTypebox = async app => {
  const { checkService: service, registry } = app

  for (const base of bases) {
    app.post(`${base}/:alias/check`, {
      config: admins,
      schema: {
        operationId: 'servers.check',
        tags: ['Servers'],
        summary: 'Check a server thoroughly',
        description: 'About a dozen small generations find out how it behaves: whether it restores settings, distinguishes ' +
          'tasks, stops when interrupted, and the limits of a proxy in front of it. Its queue is paused meanwhile, after ' +
          'the running job has finished. Everything is restored. GET shows the progress. A body is optional.',
        params: Alias,
        body: Ref(ServerCheckOptions),
        response: { 202: { ...Ref(ServerCheckView), description: 'Asked for.' }, ...errorResponses(400, 403, 404, 409, 422) }
      }
    }, async (request, reply) => {
      const server = registry.require(request.params.alias)
      const { checkpoint = null, minutes = null } = request.body ?? {}
      await service.ask(server, { id: randomUUID(), checkpoint, minutes })
      reply.code(202).header('location', `${base}/${encodeURIComponent(server.alias)}/check`)
      return await service.view(server.id)
    })

    app.get(`${base}/:alias/check`, {
      config: admins,
      schema: {
        operationId: 'servers.getCheck',
        tags: ['Servers'],
        summary: 'How far a check is, and the last report',
        description: 'The report has no prompts, names of checkpoints, host names or credentials in it.',
        params: Alias,
        response: { 200: { ...Ref(ServerCheckView), description: 'The check.' }, ...errorResponses(403, 404) }
      }
    }, async request => await service.view(registry.require(request.params.alias).id))

    app.delete(`${base}/:alias/check`, {
      config: admins,
      schema: {
        operationId: 'servers.cancelCheck',
        tags: ['Servers'],
        summary: 'Cancel a check',
        description: 'What runs is stopped and everything is put back; GET shows when that is done.',
        params: Alias,
        response: { 202: { ...Ref(ServerCheckView), description: 'It is being cancelled.' }, ...errorResponses(403, 404) }
      }
    }, async (request, reply) => {
      const server = registry.require(request.params.alias)
      if (!await service.cancel(server.id)) {
        throw new ServiceError('check_not_found', `No check of ${server.alias} is running.`)
      }
      reply.code(202)
      return await service.view(server.id)
    })
  }
}

export default serverChecks
