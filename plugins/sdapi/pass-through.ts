import type { FastifyPluginAsync, FastifyRequest } from 'fastify'
import { fieldsOf, textsOf } from '../../src/lib/json-values.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { dangerousRoutes, endingRoutes, hasPathTraversal, openedPaths } from '../../src/config/open-routes.ts'
import { imageRoutes, refuseAddresses } from '../../src/sdapi/pass-through.ts'
import { pydantic1 } from '../../src/fastapi/pydantic1.ts'
import { readModel } from '../../src/fastapi/model.ts'
import { disconnectSignal } from '../core/held-requests.ts'
import { sendJson, targetOf } from './call.ts'

const drawing = { access: { scope: 'jobs:write' } } as const
const ruling = { access: { scope: 'servers:admin' } } as const
const looking = { access: { scope: 'models:read' }, credentials: 'a1111' } as const

/** Answers of a server itself: only routes that are named here ever reach one. */
export const passThrough: FastifyPluginAsync = async app => {
  const { passThrough: through, config } = app

  for (const name of imageRoutes) {
    app.post(`/${name}`, {
      config: drawing,
      schema: {
        tags: ['A1111'],
        operationId: `a1111_${name.replaceAll('-', '_')}`,
        summary: `A1111's ${name}, on the best server or the named one`,
        description: 'Takes and answers what A1111 does. It waits until the server generates nothing, and is no job; ' +
          '`X-StableQueue-Server` names the server.'
      }
    }, async (request, reply) => {
      const body = objectSent(request)
      refuseAddresses(body)
      reply.hold('waiting')
      const answer = await through.post(`/sdapi/v1/${name}`, body, targetOf(request), disconnectSignal(reply))
      return sendJson(reply, answer)
    })
  }

  for (const name of dangerousRoutes) {
    app.post(`/${name}`, { config: ruling, schema: { hide: true } }, async (request, reply) => {
      if (!config.SDAPI_OPEN_ROUTES.includes(name)) {
        throw new ServiceError('permission_denied', `${name} changes or stops a server and is closed; an administrator ` +
          'can name it in SDAPI_OPEN_ROUTES.')
      }
      reply.hold('waiting')
      const path = `/sdapi/v1/${name}`
      const body = fieldsOf(request.body)
      return sendJson(reply, endingRoutes.includes(name)
        ? await through.postNow(path, body, targetOf(request))
        : await through.post(path, body, targetOf(request), disconnectSignal(reply)))
    })
  }
}

export interface OpenedRoutesOptions {
  /** The path prefix here, which the server does not have. */
  readonly base: string
}

/**
 * Paths of servers, such as those of extensions, that an administrator has opened; GET at once, POST as an exclusive
 * call.
 */
export const openedRoutes: FastifyPluginAsync<OpenedRoutesOptions> = async (app, { base }) => {
  const { upstream, passThrough: through, config } = app
  const opened = { config: { ...drawing, credentials: 'a1111' }, schema: { hide: true } } as const

  for (const path of openedPaths(config.SDAPI_OPEN_ROUTES)) {
    // Routes of this service are not passed on, whatever the setting says.
    if (!app.hasRoute({ method: 'GET', url: base + path })) {
      app.get(path, opened, async (request, reply) => {
        const [server] = await upstream.reachable(targetOf(request))
        if (server === undefined) throw new ServiceError('a1111_unreachable', 'No server answers just now.')
        return sendJson(reply, await upstream.client(server).readJson(straight(request.url, base)))
      })
    }
    if (!app.hasRoute({ method: 'POST', url: base + path })) {
      app.post(path, opened, async (request, reply) => {
        reply.hold('waiting')
        return sendJson(reply, await through.post(
          straight(request.url, base), fieldsOf(request.body), targetOf(request), disconnectSignal(reply)))
      })
    }
  }
}

/**
 * The address for the server.
 * @throws ServiceError `route_not_found`
 */
function straight (url: string, base: string): string {
  const isBelow = url.startsWith(`${base}/`)
  if (!isBelow || hasPathTraversal(url.split('?')[0] ?? '')) throw new ServiceError('route_not_found', 'Not Found')
  return url.slice(base.length)
}

/**
 * The fields of a body, which the server checks itself.
 * @throws ValidationFailure if there is no object to send
 */
function objectSent (request: FastifyRequest): Record<string, unknown> {
  readModel(pydantic1, {}, request.body)
  return fieldsOf(request.body)
}

/** The routes of the ControlNet extension, which are at the root. */
export const controlNet: FastifyPluginAsync = async app => {
  const { upstream, passThrough: through } = app

  for (const name of ['model_list', 'module_list']) {
    app.get(`/controlnet/${name}`, { config: looking, schema: { hide: true } }, async (request, reply) => {
      const { alias_names: aliases } = request.query as { alias_names?: string }
      const query = aliases === 'true' || aliases === '1' ? '?alias_names=true' : ''
      const answers = (await upstream.readAll(`/controlnet/${name}${query}`, targetOf(request))).map(fieldsOf)
      if (answers.length === 0) throw new ServiceError('route_not_found', 'Not Found')
      const all = [...new Set(answers.flatMap(answer => textsOf(answer[name])))]
      return sendJson(reply, { ...Object.assign({}, ...answers.toReversed()) as object, [name]: all })
    })
  }

  for (const name of ['version', 'control_types', 'settings']) {
    app.get(`/controlnet/${name}`, { config: looking, schema: { hide: true } }, async (request, reply) => {
      const [answer] = await upstream.readAll(`/controlnet/${name}`, targetOf(request))
      if (answer === undefined) throw new ServiceError('route_not_found', 'Not Found')
      return sendJson(reply, answer)
    })
  }

  for (const path of ['/controlnet/detect', '/controlnet/render_openpose_json']) {
    app.post(path, { config: { ...drawing, credentials: 'a1111' }, schema: { hide: true } }, async (request, reply) => {
      const models = await upstream.readAll('/controlnet/model_list', targetOf(request))
      if (models.length === 0) throw new ServiceError('route_not_found', 'Not Found')
      refuseAddresses(request.body)
      reply.hold('waiting')
      // A list of poses is no object, but the server wants it.
      const body = Array.isArray(request.body) ? request.body : fieldsOf(request.body)
      return sendJson(reply, await through.post(path, body, targetOf(request), disconnectSignal(reply)))
    })
  }
}
