import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import type { FastifyPluginAsync } from 'fastify'
import type { Queue } from 'bullmq'
import type { GenerationQueues } from '../../queues/generation-queues.ts'
import type { WebhookData } from '../../queues/webhook-queue.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'

export interface DashboardOptions {
  readonly queues: GenerationQueues
  readonly webhooks: Queue<WebhookData>
  readonly registry: ServerRegistry
  /** Whether queues can be looked at only. */
  readonly readOnly: boolean
}

const basePath = '/dashboard'

/** Every queue as BullMQ sees it, for administrators; queues of servers added later appear by themselves. */
const dashboard: FastifyPluginAsync<DashboardOptions> = async (app, { queues, webhooks, registry, readOnly }) => {
  const serverAdapter = new FastifyAdapter()
  serverAdapter.setBasePath(basePath)
  const board = createBullBoard({
    queues: [],
    serverAdapter,
    options: { uiConfig: { boardTitle: 'StableQueue' } }
  })

  function follow (): void {
    const lines = registry.list().map(server => new BullMQAdapter(queues.queue(server.id), {
      readOnlyMode: readOnly,
      allowRetries: false,
      displayName: server.alias,
      description: server.address.baseUrl
    }))
    board.replaceQueues([...lines, new BullMQAdapter(webhooks, {
      readOnlyMode: readOnly, allowRetries: false, displayName: 'Webhooks', description: 'Events on their way'
    })])
  }

  follow()
  const forget = registry.onChange(follow)
  app.addHook('onClose', async () => { forget() })
  app.addHook('onRoute', route => {
    route.config = { ...route.config, access: { scope: 'queue:admin' } }
    route.schema = { ...route.schema, hide: true }
  })
  await app.register(serverAdapter.registerPlugin(), { prefix: basePath })
}

export default dashboard
