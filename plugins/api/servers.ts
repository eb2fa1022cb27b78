import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import { errorResponses } from '../../schemas/error.ts'
import { Done } from '../../schemas/job.ts'
import { Ref, StringEnum } from '../../schemas/kit.ts'
import {
  InventoryView, ServerChange, ServerChangeAnswer, ServerHistory, ServerInput, ServerPause, ServerTestAnswer,
  ServerView
} from '../../schemas/server.ts'
import { addressField, addressOf, changedAddress, lostOptions } from '../../src/servers/address.ts'

const Alias = Type.Object({ alias: Type.String({ description: 'Name of the server.', maxLength: 64 }) })
const reading = { access: { scope: 'servers:read' } } as const
const changing = { access: { scope: 'servers:admin' } } as const

/** The servers: listed without asking them, changed by admins. */
const servers: FastifyPluginAsyncTypebox = async app => {
  const { serverService: service, serverViews: views, reach } = app
  const { registry } = service

  app.get('/api/v1/servers', {
    config: reading,
    schema: {
      operationId: 'servers.list',
      tags: ['Servers'],
      summary: 'List the servers',
      description: 'A bare array, as its clients expect. Returns the result of the last checks; it asks no server.',
      response: { 200: Type.Array(Ref(ServerView), { description: 'Every server.' }), ...errorResponses(403) }
    }
  }, async ({ principal }) => await views.all(principal))

  app.post('/api/v1/servers', {
    config: changing,
    schema: {
      operationId: 'servers.add',
      tags: ['Servers'],
      summary: 'Add a server',
      description: 'The service checks it in the background; `health` has the result.',
      body: Ref(ServerInput),
      response: { 201: { ...Ref(ServerChangeAnswer), description: 'Added.' }, ...errorResponses(400, 403) }
    }
  }, async (request, reply) => {
    const input = request.body
    const address = addressOf(input)
    await reach.check(address.baseUrl, addressField(input) ?? 'port')
    const server = await registry.add({
      alias: input.alias,
      address,
      origin: 'user',
      description: input.description ?? null,
      enabled: input.enabled ?? true,
      jobTimeoutSeconds: input.job_timeout_seconds ?? null,
      restoreSelection: input.restore_selection ?? 'when idle'
    })
    reply.code(201).header('location', `/api/v1/servers/${encodeURIComponent(server.alias)}`)
    return { success: true as const, message: `Server ${server.alias} was added.`, server: await views.one(server, request.principal) }
  })

  app.get('/api/v1/servers/:alias', {
    config: reading,
    schema: {
      operationId: 'servers.get',
      tags: ['Servers'],
      summary: 'One server',
      description: 'Result of its last check, and its number of waiting jobs.',
      params: Alias,
      response: { 200: { ...Ref(ServerView), description: 'The server.' }, ...errorResponses(403, 404) }
    }
  }, async request => await views.one(registry.require(request.params.alias), request.principal))

  for (const [method, operationId, summary] of [
    ['PUT', 'servers.replace', 'Change a server'], ['PATCH', 'servers.change', 'Change a server, the same as PUT']
  ] as const) {
    app.route({
      method,
      url: '/api/v1/servers/:alias',
      config: changing,
      schema: {
        operationId,
        tags: ['Servers'],
        summary,
        description: 'What is left out stays as it is, credentials too; null or empty removes them. A changed address drops ' +
          'user, password, bearer, headers, ca and tls_verify, unless they are sent again.',
        params: Alias,
        body: Ref(ServerChange),
        response: { 200: { ...Ref(ServerChangeAnswer), description: 'Changed.' }, ...errorResponses(400, 403, 404, 409) }
      },
      async handler (request) {
        const before = registry.require(request.params.alias)
        const input = request.body
        const address = changedAddress(before.address, input)
        if (address.baseUrl !== before.address.baseUrl) await reach.check(address.baseUrl, addressField(input) ?? 'port')
        const server = await registry.update(before.id, {
          address,
          ...(input.alias === undefined ? {} : { alias: input.alias }),
          ...(input.description === undefined ? {} : { description: input.description }),
          ...(input.enabled === undefined ? {} : { enabled: input.enabled }),
          ...(input.draining === undefined ? {} : { draining: input.draining }),
          ...(input.job_timeout_seconds === undefined ? {} : { jobTimeoutSeconds: input.job_timeout_seconds }),
          ...(input.restore_selection === undefined ? {} : { restoreSelection: input.restore_selection })
        })
        const message = `Server ${server.alias} was changed.${lostOptions(before.address, address)}`
        return { success: true as const, message, server: await views.one(server, request.principal) }
      }
    })
  }

  app.delete('/api/v1/servers/:alias', {
    config: changing,
    schema: {
      operationId: 'servers.remove',
      tags: ['Servers'],
      summary: 'Remove a server',
      description: 'Rejected while jobs wait for it, unless `jobs` says what happens to them.',
      params: Alias,
      querystring: Type.Object({
        jobs: Type.Optional(StringEnum(['cancel', 'move'], { description: 'What happens to its waiting and running jobs.' })),
        to: Type.Optional(Type.String({ description: 'With jobs=move: alias of the new server, or auto for any.' })),
        expected: Type.Optional(Type.Integer({
          minimum: 0, description: 'How many jobs the caller expects it to have: where there are more, the answer is 409 and nothing is done.'
        }))
      }),
      response: { 200: { ...Ref(Done), description: 'Removed.' }, ...errorResponses(400, 403, 404, 409, 422) }
    }
  }, async request => {
    const { jobs, to, expected } = request.query
    const server = registry.require(request.params.alias)
    const moved = await service.remove(server, jobs ?? 'refuse', to, expected)
    return { success: true as const, message: `Server ${server.alias} was removed${moved === '' ? '' : `; ${moved}`}.` }
  })

  app.post('/api/v1/servers/:alias/test', {
    config: changing,
    schema: {
      operationId: 'servers.test',
      tags: ['Servers'],
      summary: 'Look at a server now',
      description: 'Asks it what it is and what it has; always answers 200, with what was found or what went wrong.',
      params: Alias,
      response: { 200: { ...Ref(ServerTestAnswer), description: 'What was found.' }, ...errorResponses(403, 404) }
    }
  }, async request => {
    const server = registry.require(request.params.alias)
    const { reachable, message, milliseconds } = await service.test(server)
    return {
      success: true as const,
      reachable,
      message,
      duration_ms: milliseconds,
      server: await views.one(server, request.principal)
    }
  })

  app.post('/api/v1/servers/:alias/pause', {
    config: changing,
    schema: {
      operationId: 'servers.pause',
      tags: ['Servers'],
      summary: 'Pause a server; its running job continues',
      description: 'It stays paused across restarts. A body is optional.',
      params: Alias,
      body: Ref(ServerPause),
      response: { 200: { ...Ref(ServerChangeAnswer), description: 'Done.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const pauseReason = request.body?.reason?.trim() || null
    const server = await registry.update(registry.require(request.params.alias).id, { paused: true, pauseReason })
    return { success: true as const, message: `${server.alias} is paused.`, server: await views.one(server, request.principal) }
  })

  app.post('/api/v1/servers/:alias/drain', {
    config: changing,
    schema: {
      operationId: 'servers.drain',
      tags: ['Servers'],
      summary: 'Take a server out; its running job continues',
      description: 'Takes no fields. The same as a change with `draining` true: the server begins nothing more, and ' +
        '`drained` says when it is empty. It stays so across restarts, until it is resumed or removed.',
      params: Alias,
      response: { 200: { ...Ref(ServerChangeAnswer), description: 'Done.' }, ...errorResponses(403, 404) }
    }
  }, async request => {
    const server = await views.one(
      await registry.update(registry.require(request.params.alias).id, { draining: true }), request.principal)
    const rest = server.drained ? 'nothing runs there' : 'it finishes what runs'
    return { success: true as const, message: `${server.alias} takes no more jobs; ${rest}.`, server }
  })

  app.post('/api/v1/servers/:alias/resume', {
    config: changing,
    schema: {
      operationId: 'servers.resume',
      tags: ['Servers'],
      summary: 'Resume a paused or draining server',
      description: 'Takes no fields.',
      params: Alias,
      response: { 200: { ...Ref(ServerChangeAnswer), description: 'Done.' }, ...errorResponses(403, 404) }
    }
  }, async request => {
    const { id } = registry.require(request.params.alias)
    const server = await registry.update(id, { paused: false, pauseReason: null, draining: false })
    return { success: true as const, message: `${server.alias} takes jobs again.`, server: await views.one(server, request.principal) }
  })

  app.get('/api/v1/servers/:alias/history', {
    config: reading,
    schema: {
      operationId: 'servers.getHistory',
      tags: ['Servers'],
      summary: 'How a server was over the last day',
      description: 'The result of each check, and the time to answer.',
      params: Alias,
      response: { 200: { ...Ref(ServerHistory), description: 'The last day.' }, ...errorResponses(403, 404) }
    }
  }, async request => await views.history(registry.require(request.params.alias)))

  app.get('/api/v1/servers/:alias/inventory', {
    config: { access: { scope: 'models:read' } },
    schema: {
      operationId: 'servers.getInventory',
      tags: ['Servers'],
      summary: 'What a server has',
      description: 'Checkpoints, samplers, LoRAs and the like, as they were last read.',
      params: Alias,
      response: { 200: { ...Ref(InventoryView), description: 'The inventory.' }, ...errorResponses(403, 404) }
    }
  }, async request => await views.inventory(registry.require(request.params.alias)))
}

export default servers
