import type { FastifyPluginAsync } from 'fastify'
import { sendJson } from './call.ts'

/** What clients look for at the root to find out whether an A1111 runs there. They send no credentials with it. */
const probes: FastifyPluginAsync = async app => {
  const open = { config: { access: 'public' }, schema: { hide: true } } as const
  app.get('/user', open, async (_request, reply) => sendJson(reply, null))
  app.get('/config', open, async (_request, reply) =>
    sendJson(reply, { version: '3.41.2', mode: 'blocks', dev_mode: false, title: 'Stable Diffusion', components: [] }))
  app.get('/app_id', open, async (_request, reply) => sendJson(reply, { app_id: 1 }))
  app.get('/internal/ping', open, async (_request, reply) => sendJson(reply, {}))
}

export default probes
