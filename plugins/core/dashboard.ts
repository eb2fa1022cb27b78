import { createBullBoard } from '@bull-board/api'
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { FastifyAdapter } from '@bull-board/fastify'
import type { FastifyPluginAsync } from 'fastify'
import type { NamedQueue } from '../../queues/all-queues.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'

export interface DashboardOptions {
  /** Every queue that there is at the moment of asking. */
  readonly queues: () => readonly NamedQueue[]
  readonly registry: Pick<ServerRegistry, 'onChange'>
  /** Whether queues can be looked at only. */
  readonly readOnly: boolean
}

const basePath = '/dashboard'

/** Every queue as BullMQ sees it, for administrators; queues of servers added later appear by themselves. */
const dashboard: FastifyPluginAsync<DashboardOptions> = async (app, { queues, registry, readOnly }) => {
  const serverAdapter = new FastifyAdapter()
  serverAdapter.setBasePath(basePath)
  const board = createBullBoard({
    queues: [],
    serverAdapter,
    options: { uiConfig: { boardTitle: 'StableQueue' } }
  })

  function follow (): void {
    board.replaceQueues(queues().map(({ name, about, queue }) => new BullMQAdapter(queue, {
      readOnlyMode: readOnly, allowRetries: false, displayName: name, description: about
    })))
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
