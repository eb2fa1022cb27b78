import fp from 'fastify-plugin'
import { createFailedLogins, type FailedLogins } from '../../src/access/rate-limit.ts'
import {
  createKeySessions, createSessions, createTickets, type KeySessions, type Sessions, type Tickets
} from '../../src/access/sessions.ts'
import { openEventBus, type EventBus } from '../../src/events/event-bus.ts'
import { createEventLog } from '../../src/events/event-log.ts'
import { createOpenConnections, type OpenConnections } from '../../src/events/open-connections.ts'
import { startPositionBroadcaster } from '../../src/jobs/position-events.ts'
import { createPreviews, type Previews } from '../../src/jobs/previews.ts'
import type { Pause } from '../../src/sdapi/answer.ts'
import type { Services } from '../../src/services/services.ts'
import { createJobEventSender, type JobEventSender } from '../events/job-event-sender.ts'
import { createEventViews, type EventViews } from '../events/render-event.ts'
import bots from './bots.ts'
import jobs from './jobs.ts'
import process, { decorateAll } from './process.ts'
import sdapi from './sdapi.ts'
import servers from './servers.ts'

interface AccessServices {
  /** Tokens with full rights: AUTH_TOKEN and the admin token. */
  readonly fullTokens: readonly string[]
  readonly failedLogins: FailedLogins
  /** Sessions of the web UI. */
  readonly sessions: Sessions
  readonly keySessions: KeySessions
  readonly tickets: Tickets
}

interface EventServices {
  readonly eventBus: EventBus
  readonly previews: Previews
  readonly connections: OpenConnections
  readonly eventViews: EventViews
  readonly jobEventSender: JobEventSender
}

declare module 'fastify' {
  interface FastifyInstance extends AccessServices, EventServices {}
}

interface AccessServicesOptions {
  readonly tokens: readonly string[]
}

/** Authentication of clients. */
const access = fp<AccessServicesOptions>(async (app, { tokens }) => {
  const { redis, keys, accessKeys } = app
  decorateAll<AccessServices>(app, {
    fullTokens: tokens,
    failedLogins: createFailedLogins({ redis, keys }),
    sessions: createSessions({ redis, keys, tokens }),
    keySessions: createKeySessions({ redis, keys, accessKeys }),
    tickets: createTickets({ redis, keys, accessKeys })
  })
}, { name: 'access-services', fastify: '5.x', dependencies: ['process'] })

/** Events, for listeners. */
const events = fp(async app => {
  const { redis, subscriber, keys, accessKeys, jobStore: store, registry, estimates, jobViews, log } = app
  const connections = createOpenConnections({ accessKeys, subscriber, keys })
  app.addHook('preClose', async () => { connections.close() })
  const eventBus = await openEventBus({ eventLog: createEventLog(redis, keys), subscriber, keys, log })
  const places = startPositionBroadcaster({
    eventBus,
    estimates,
    servers: () => registry.list().map(({ id }) => id),
    log,
    hasListeners: () => connections.count() > 0
  })
  const previews = createPreviews({ eventBus, redis, subscriber, keys, log })
  app.addHook('onClose', async () => {
    previews.close()
    places.close()
    eventBus.close()
  })
  decorateAll<EventServices>(app, {
    eventBus,
    previews,
    connections,
    eventViews: createEventViews(registry),
    jobEventSender: createJobEventSender({ eventBus, store, registry, jobViews })
  })
}, { name: 'event-services', fastify: '5.x', dependencies: ['process', 'job-services'] })

export interface ServicesOptions {
  readonly services: Services
  /** Tokens with full rights: AUTH_TOKEN and the admin token. */
  readonly tokens: readonly string[]
  /** Between two blanks of a waiting answer of the drop-in; real time except in tests. */
  readonly pause?: Pause | undefined
}

/** The services that routes use, as decorators of the instance: each part declares its own. */
export default fp<ServicesOptions>(async (app, { services, tokens, pause }) => {
  await app.register(process, { services })
  await app.register(access, { tokens })
  await app.register(servers)
  await app.register(jobs)
  await app.register(events)
  await app.register(sdapi, { pause })
  await app.register(bots)
}, { name: 'services', fastify: '5.x' })
