import type { FastifyPluginAsync } from 'fastify'
import { rulesOf } from '../../src/a1111/kinds/registry.ts'
import { readModel, required } from '../../src/fastapi/model.ts'
import { pydantic1 } from '../../src/fastapi/pydantic1.ts'
import { withDeadline } from '../../src/lib/deadline.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import type { Model, ModelType } from '../../src/model-facts/facts.ts'
import {
  checkpointDetails, listNames, loraDetails, unionOfEmbeddings, unionOfLists, unionOfScripts, vaesAmong,
  withoutSecrets
} from '../../src/sdapi/lists.ts'
import { readPngInfo } from '../../src/sdapi/request.ts'
import { sendJson, targetOf } from './call.ts'

const config = { access: { scope: 'models:read' } } as const
const unions = { embeddings: unionOfEmbeddings, scripts: unionOfScripts } as const

/** The lists of all servers together; with a server named, that one's. */
const lists: FastifyPluginAsync = async app => {
  const { upstream, passThrough: through, states, redis, keys } = app
  const described = (name: string, summary: string, description: string) =>
    ({ tags: ['A1111'], operationId: `a1111_${name.replaceAll('-', '_')}`, summary, description })
  const describedList = (name: string) => described(name, `${name} of all servers`,
    'In A1111\'s shape, each entry once. With `X-StableQueue-Server`, only what that server has.')

  for (const name of listNames) {
    app.get(`/${name}`, { config, schema: describedList(name) }, async (request, reply) =>
      sendJson(reply, unionOfLists(name, await readList(name, targetOf(request)))))
  }

  /** If VAEs are among other modules, a client of A1111 finds them under its own name all the same. */
  async function readList (name: string, target: string): Promise<unknown[]> {
    const answers = await upstream.readAll(`/sdapi/v1/${name}`, target)
    if (name !== 'sd-vae') return answers
    const servers = await upstream.reachable(target)
    const modules = await Promise.all(servers.map(async server => {
      const listsModules = rulesOf(await states.traits(server.id)).listsModules
      return listsModules ? vaesAmong(await upstream.read(server, '/sdapi/v1/sd-modules').catch(() => [])) : []
    }))
    return [...answers, ...modules]
  }

  for (const [name, unite] of Object.entries(unions)) {
    app.get(`/${name}`, { config, schema: describedList(name) }, async (request, reply) =>
      sendJson(reply, unite(await upstream.readAll(`/sdapi/v1/${name}`, targetOf(request)))))
  }

  for (const name of ['memory', 'cmd-flags']) {
    app.get(`/${name}`, {
      config: { access: { scope: 'servers:read' } },
      schema: described(name, `${name} of the best server, without secrets`,
        '`X-StableQueue-Server` chooses another server.')
    }, async (request, reply) => {
      const [answer] = await upstream.readAll(`/sdapi/v1/${name}`, targetOf(request))
      if (answer === undefined) throw new ServiceError('a1111_unreachable', 'No server answers just now.')
      return sendJson(reply, withoutSecrets(answer))
    })
  }

  for (const name of ['refresh-checkpoints', 'refresh-vae', 'refresh-loras', 'refresh-embeddings']) {
    app.post(`/${name}`, {
      config,
      schema: described(name, 'Reload the lists of every server',
        'Each server looks for new files, within two minutes; then its lists are read again.')
    }, async (request, reply) => {
      const servers = await upstream.reachable(targetOf(request))
      await Promise.allSettled(servers.map(async server => {
        await withDeadline(refreshTimeoutMs, [], async signal => {
          await through.postTo(server, `/sdapi/v1/${name}`, {}, signal)
        })
        if (name === 'refresh-loras') await states.loraFacts.askAgain(server.id)
        await redis.publish(keys.channel('servers'), server.id)
      }))
      return sendJson(reply, null)
    })
  }

  app.post('/png-info', {
    config: { access: { scope: 'images:read' } },
    schema: described('png-info', 'Read the generation parameters inside a picture',
      'Takes `image` as base64 or data URL, and asks no server.')
  }, async (request, reply) => {
    const { image } = readModel(pydantic1, { image: required('string') }, request.body)
    return sendJson(reply, await readPngInfo(String(image)))
  })
}

export default lists

/** How long a server can be busy before it is not asked, in milliseconds. */
const refreshTimeoutMs = 120_000

/** async-proxy's details of one model; the lists are A1111's own. */
export const models: FastifyPluginAsync = async app => {
  const { catalogue } = app

  function details (path: string, type: ModelType, missing: string, view: (model: Model) => unknown): void {
    app.get(`${path}/:id`, {
      config: { access: { scope: 'models:read' } },
      schema: {
        tags: ['A1111'],
        operationId: `a1111_${type}_details`,
        summary: `One ${type}, with what Civitai knows of it`,
        description: 'By its id in /api/v1/models, file name, title or hash.'
      }
    }, async (request, reply) => {
      const { id } = request.params as { id: string }
      try {
        return sendJson(reply, view(await catalogue.require(id, type)))
      } catch (error) {
        if (!(error instanceof ServiceError) || error.status >= 500) throw error
        return sendJson(reply.code(404), { error: missing })
      }
    })
  }

  details('/sd-models', 'checkpoint', 'Model not found', checkpointDetails)
  details('/loras', 'lora', 'LoRa not found', loraDetails)
}

/** Lists of the drop-downs on A1111's page, by their `elem_id`. */
const dropDowns: Readonly<Record<string, { readonly label: string, readonly lists: readonly string[] }>> = {
  txt2img_hr_upscaler: { label: 'Upscaler', lists: ['latent-upscale-modes', 'upscalers'] },
  extras_upscaler_1: { label: 'Upscaler 1', lists: ['upscalers'] },
  extras_upscaler_2: { label: 'Upscaler 2', lists: ['upscalers'] },
  txt2img_sampling: { label: 'Sampling method', lists: ['samplers'] },
  img2img_sampling: { label: 'Sampling method', lists: ['samplers'] },
  txt2img_scheduler: { label: 'Schedule type', lists: ['schedulers'] },
  img2img_scheduler: { label: 'Schedule type', lists: ['schedulers'] }
}

/** Requests at the root by which clients detect an A1111. They send no credentials with it. */
export const probes: FastifyPluginAsync = async app => {
  const { upstream } = app
  const open = { config: { access: 'public' }, schema: { hide: true } } as const
  app.get('/user', open, async (_request, reply) => sendJson(reply, null))
  app.get('/config', open, async (_request, reply) => sendJson(reply, {
    version: '3.41.2', mode: 'blocks', dev_mode: false, title: 'Stable Diffusion', components: await components()
  }))
  app.get('/app_id', open, async (_request, reply) => sendJson(reply, { app_id: 1 }))
  app.get('/internal/ping', open, async (_request, reply) => sendJson(reply, {}))

  /**
   * Some lists exist only in gradio's description of the page. Only those of every installation are here, none of its
   * models, since this is public.
   */
  async function components (): Promise<unknown[]> {
    const names = [...new Set(Object.values(dropDowns).flatMap(({ lists }) => lists))]
    const lists = new Map(await Promise.all(names.map(async name =>
      [name, unionOfLists(name, await upstream.readAll(`/sdapi/v1/${name}`, '')).map(choiceOf)] as const)))
    return Object.entries(dropDowns).map(([id, { label, lists: of }], index) => {
      const choices = of.flatMap(name => lists.get(name) ?? [])
      return {
        id: index + 1,
        type: 'dropdown',
        props: { choices, value: choices[0] ?? null, type: 'value', label, visible: true, elem_id: id, name: 'dropdown' }
      }
    })
  }
}

/** Schedulers are shown by their labels. */
function choiceOf (entry: unknown): string {
  const { name, label } = entry as { name: string, label?: string }
  return label ?? name
}
