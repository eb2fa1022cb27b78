import type { FastifyPluginAsync } from 'fastify'
import { unionOfLists } from '../../src/sdapi/lists.ts'
import { sendJson } from './call.ts'

/** Which lists stand in which drop-downs of A1111's page, by their `elem_id`. */
const dropDowns: Readonly<Record<string, { readonly label: string, readonly lists: readonly string[] }>> = {
  txt2img_hr_upscaler: { label: 'Upscaler', lists: ['latent-upscale-modes', 'upscalers'] },
  extras_upscaler_1: { label: 'Upscaler 1', lists: ['upscalers'] },
  extras_upscaler_2: { label: 'Upscaler 2', lists: ['upscalers'] },
  txt2img_sampling: { label: 'Sampling method', lists: ['samplers'] },
  img2img_sampling: { label: 'Sampling method', lists: ['samplers'] },
  txt2img_scheduler: { label: 'Schedule type', lists: ['schedulers'] },
  img2img_scheduler: { label: 'Schedule type', lists: ['schedulers'] }
}

/** What clients look for at the root to find out whether an A1111 runs there. They send no credentials with it. */
const probes: FastifyPluginAsync = async app => {
  const { faces } = app
  const open = { config: { access: 'public' }, schema: { hide: true } } as const
  app.get('/user', open, async (_request, reply) => sendJson(reply, null))
  app.get('/config', open, async (_request, reply) => sendJson(reply, {
    version: '3.41.2', mode: 'blocks', dev_mode: false, title: 'Stable Diffusion', components: await components()
  }))
  app.get('/app_id', open, async (_request, reply) => sendJson(reply, { app_id: 1 }))
  app.get('/internal/ping', open, async (_request, reply) => sendJson(reply, {}))

  /**
   * Some lists are nowhere else but in gradio's description of the page. Only those of every installation stand here,
   * none of its models, since anybody may read them.
   */
  async function components (): Promise<unknown[]> {
    const names = [...new Set(Object.values(dropDowns).flatMap(({ lists }) => lists))]
    const lists = new Map(await Promise.all(names.map(async name =>
      [name, unionOfLists(name, await faces.readAll(`/sdapi/v1/${name}`, '')).map(choiceOf)] as const)))
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

export default probes

/** Schedulers are shown by their labels. */
function choiceOf (entry: unknown): string {
  const { name, label } = entry as { name: string, label?: string }
  return label ?? name
}
