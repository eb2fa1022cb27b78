import fp from 'fastify-plugin'
import { createEventLog } from '../../src/events/event-log.ts'
import { openEventBus, type EventBus } from '../../src/events/event-bus.ts'
import { createOpenConnections, type OpenConnections } from '../../src/events/open-connections.ts'
import { startPositionBroadcaster } from '../../src/jobs/position-events.ts'
import { createPreviews, type Previews } from '../../src/jobs/previews.ts'
import { createEventViews, type EventViews } from '../events/render-event.ts'
import { createJobEventSender, type JobEventSender } from '../events/job-event-sender.ts'
import { decorateAll } from './process.ts'

interface EventServices {
  readonly eventBus: EventBus
  readonly previews: Previews
  readonly connections: OpenConnections
  readonly eventViews: EventViews
  readonly jobEventSender: JobEventSender
}

declare module 'fastify' {
  interface FastifyInstance extends EventServices {}
}

/** Events, for listeners. */
export default fp(async app => {
  const { redis, subscriber, keys, accessKeys, jobStore: store, registry, estimates, jobViews, log } = app
  const connections = createOpenConnections({ accessKeys, subscriber, keys })
  app.addHook('preClose', async () => { connections.close() })
  const eventBus = await openEventBus({ eventLog: createEventLog(redis, keys), subscriber, keys, log })
  const places = startPositionBroadcaster({ eventBus, estimates, log, hasListeners: () => connections.count() > 0 })
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
