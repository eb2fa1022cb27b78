import type { FastifyPluginAsync } from 'fastify'
import { ServiceError } from '../../src/errors.ts'
import { rulesOf } from '../../src/a1111/kinds/registry.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import {
  listNames, unionOfEmbeddings, unionOfLists, unionOfScripts, vaesAmong, withoutSecrets
} from '../../src/sdapi/lists.ts'
import { readPngInfo } from '../../src/sdapi/png-info.ts'
import { required } from '../../src/simulator/wire/fields.ts'
import { pydantic1 } from '../../src/simulator/wire/pydantic1.ts'
import { readModel } from '../../src/simulator/wire/read-model.ts'
import { sendJson, targetOf } from './call.ts'

const config = { access: { scope: 'models:read' } } as const
const unions = { embeddings: unionOfEmbeddings, scripts: unionOfScripts } as const

/** What servers have, all of them together; with a server named, that one's. */
const lists: FastifyPluginAsync = async app => {
  const { faces, passThrough: through, states, redis, keys } = app
  const described = (name: string, summary: string) =>
    ({ tags: ['A1111'], operationId: `a1111_${name.replaceAll('-', '_')}`, summary })

  for (const name of listNames) {
    app.get(`/${name}`, { config, schema: described(name, `${name} of all servers`) }, async (request, reply) =>
      sendJson(reply, unionOfLists(name, await readList(name, targetOf(request)))))
  }

  /** Where VAEs stand among other modules, a client of A1111 finds them under its own name all the same. */
  async function readList (name: string, target: string): Promise<unknown[]> {
    const answers = await faces.readAll(`/sdapi/v1/${name}`, target)
    if (name !== 'sd-vae') return answers
    const servers = await faces.reachable(target)
    const modules = await Promise.all(servers.map(async server => {
      const listsModules = rulesOf(await states.traits(server.id)).listsModules
      return listsModules ? vaesAmong(await faces.read(server, '/sdapi/v1/sd-modules').catch(() => [])) : []
    }))
    return [...answers, ...modules]
  }

  for (const [name, unite] of Object.entries(unions)) {
    app.get(`/${name}`, { config, schema: described(name, `${name} of all servers`) }, async (request, reply) =>
      sendJson(reply, unite(await faces.readAll(`/sdapi/v1/${name}`, targetOf(request)))))
  }

  for (const name of ['memory', 'cmd-flags']) {
    app.get(`/${name}`, {
      config: { access: { scope: 'servers:read' } },
      schema: described(name, `${name} of the best server, without secrets`)
    }, async (request, reply) => {
      const [answer] = await faces.readAll(`/sdapi/v1/${name}`, targetOf(request))
      if (answer === undefined) throw new ServiceError('a1111_unreachable', 'No server answers just now.')
      return sendJson(reply, withoutSecrets(answer))
    })
  }

  for (const name of ['refresh-checkpoints', 'refresh-vae', 'refresh-loras', 'refresh-embeddings']) {
    app.post(`/${name}`, {
      config,
      schema: described(name, 'Reload the lists of every server')
    }, async (request, reply) => {
      const servers = await faces.reachable(targetOf(request))
      await Promise.allSettled(servers.map(async server => {
        await withDeadline(refreshTimeoutMs, [], async signal => {
          await through.postTo(server, `/sdapi/v1/${name}`, {}, signal)
        })
        await redis.publish(keys.channel('servers'), server.id)
      }))
      return sendJson(reply, null)
    })
  }

  app.post('/png-info', {
    config: { access: { scope: 'images:read' } },
    schema: described('png-info', 'Read the generation parameters inside a picture')
  }, async (request, reply) => {
    const { image } = readModel(pydantic1, { image: required('string') }, request.body)
    return sendJson(reply, await readPngInfo(String(image)))
  })
}

export default lists

/** How long a server may be busy before it is not asked, in milliseconds. */
const refreshTimeoutMs = 120_000
