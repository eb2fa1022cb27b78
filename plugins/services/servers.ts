import fp from 'fastify-plugin'
import { forgetServer } from '../../src/services/services.ts'
import { createCheckService, type CheckService } from '../../src/server-check/check-service.ts'
import { createJobMoves, type JobMoves } from '../../src/jobs/many.ts'
import { createServerService, type ServerService } from '../../src/servers/server-service.ts'
import { createFreshLists, type FreshLists } from '../../src/servers/fresh-lists.ts'
import { createServerViews, type ServerViews } from '../api/server-views.ts'
import { decorateAll } from './process.ts'

interface ServerServices {
  readonly serverService: ServerService
  readonly checkService: CheckService
  readonly freshLists: FreshLists
  readonly jobMoves: JobMoves
  readonly serverViews: ServerViews
}

declare module 'fastify' {
  interface FastifyInstance extends ServerServices {}
}

/** The servers behind the queue, for administrators. */
export default fp(async app => {
  const { redis, keys, registry, states, checks, queues, claims, connect, jobStore, jobList } = app
  const freshLists = createFreshLists({ redis, keys, states, connect, log: app.log })
  const jobMoves = createJobMoves(jobStore, freshLists)
  decorateAll<ServerServices>(app, {
    serverService: createServerService({
      registry,
      states,
      store: { ...jobStore, unclaim: claims.unclaim },
      checkMove: jobMoves.check,
      connect,
      forget: async id => { await forgetServer({ queues, checks, claims }, id) }
    }),
    checkService: createCheckService({
      checks, states, isServed: async serverId => await redis.exists(keys.key('lease', serverId)) === 1
    }),
    freshLists,
    jobMoves,
    serverViews: createServerViews({ registry, states, list: jobList, checks })
  })
}, { name: 'server-services', fastify: '5.x', dependencies: ['process'] })
