import { fileURLToPath } from 'node:url'
import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import type { NamedQueue } from '../../queues/registry.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { toServiceError } from './errors.ts'

export interface DashboardOptions {
  /** All present queues. */
  readonly queues: () => readonly NamedQueue[]
  readonly registry: Pick<ServerRegistry, 'onChange'>
  /** Whether queues are read-only. */
  readonly readOnly: boolean
}

const basePath = '/dashboard'
/** Its pages, which the build copies from their package. */
const uiBasePath = fileURLToPath(new URL('../../bull-board', import.meta.url))
/** Bull Board's page has inline styles, and would load fonts from Google. */
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; " +
  "img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
const foreignFonts = /<link [^>]*fonts\.googleapis\.com[^>]*>/g

/** Every queue in BullMQ's view, for administrators; queues of later servers appear by themselves. */
const dashboard: FastifyPluginAsync<DashboardOptions> = async (app, { queues, registry, readOnly }) => {
  const serverAdapter = new FastifyAdapter()
  serverAdapter.setBasePath(basePath)
  const bullBoard = createBullBoard({
    queues: [],
    serverAdapter,
    options: { uiBasePath, uiConfig: { boardTitle: 'StableQueue' } }
  })
  serverAdapter.setErrorHandler(error => {
    const { status, message, code } = toServiceError(error)
    if (status >= 500) app.log.error({ code, err: error }, message)
    return { status: status as 500, body: { error: message, message: code } }
  })

  function follow (): void {
    bullBoard.replaceQueues(queues().map(({ name, about, queue }) => new BullMQAdapter(queue, {
      readOnlyMode: readOnly, allowRetries: false, displayName: name, description: about
    })))
  }

  follow()
  const forget = registry.onChange(follow)
  app.addHook('onClose', async () => { forget() })
  app.addHook('onRoute', route => {
    route.config = { ...route.config, access: { scope: 'queue:admin', unmarked: true } }
    route.schema = { ...route.schema, hide: true }
  })
  app.addHook('onSend', async (request, reply, payload) => {
    if (reply.statusCode === 401 && wantsPage(request)) {
      // The web UI asks for the token, and leads back here.
      reply.code(302).headers({ location: `${request.base}/#/dashboard`, 'content-length': '0' })
      return ''
    }
    reply.headers({
      'content-security-policy': contentSecurityPolicy,
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer'
    })
    if (typeof payload !== 'string' || !isPage(reply)) return payload
    return payload.replace(foreignFonts, '').replace(`<base href="${basePath}`, `<base href="${request.base}${basePath}`)
  })
  await app.register(serverAdapter.registerPlugin(), { prefix: basePath })
}

export default dashboard

function wantsPage ({ method, headers }: FastifyRequest): boolean {
  return method === 'GET' && /\btext\/html\b/.test(headers.accept ?? '')
}

function isPage (reply: FastifyReply): boolean {
  return String(reply.getHeader('content-type')).startsWith('text/html')
}
