import fp from 'fastify-plugin'
import { createEventLog } from '../../src/events/event-log.ts'
import { openEventFeed, type EventFeed } from '../../src/events/event-bus.ts'
import { createOpenConnections, type OpenConnections } from '../../src/events/open-connections.ts'
import { startPlaceTeller } from '../../src/jobs/position-events.ts'
import { createPreviews, type Previews } from '../../src/jobs/previews.ts'
import { createEventViews, type EventViews } from '../events/render-event.ts'
import { createJobTeller, type JobTeller } from '../events/job-event-sender.ts'
import { decorateAll } from './process.ts'

interface EventServices {
  readonly feed: EventFeed
  readonly previews: Previews
  readonly connections: OpenConnections
  readonly eventViews: EventViews
  readonly jobTeller: JobTeller
}

declare module 'fastify' {
  interface FastifyInstance extends EventServices {}
}

/** What happens, for those who listen. */
export default fp(async app => {
  const { redis, subscriber, keys, accessKeys, jobStore: store, registry, estimates, jobViews, log } = app
  const connections = createOpenConnections({ accessKeys, subscriber, keys })
  app.addHook('preClose', async () => { connections.close() })
  const feed = await openEventFeed({ eventLog: createEventLog(redis, keys), subscriber, keys, log })
  const places = startPlaceTeller({ feed, estimates, log, isHeard: () => connections.count() > 0 })
  const previews = createPreviews({ feed, redis, subscriber, keys, log })
  app.addHook('onClose', async () => {
    previews.close()
    places.close()
    feed.close()
  })
  decorateAll<EventServices>(app, {
    feed,
    previews,
    connections,
    eventViews: createEventViews(registry),
    jobTeller: createJobTeller({ feed, store, registry, jobViews })
  })
}, { name: 'event-services', fastify: '5.x', dependencies: ['process', 'job-services'] })
