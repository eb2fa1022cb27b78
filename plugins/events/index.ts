import fp from 'fastify-plugin'
import events, { jobEvents, preview } from './events.ts'
import socket from './socket.ts'

/** Events as they happen. */
export default fp(async app => {
  for (const routes of [events, jobEvents, socket, preview]) await app.register(routes)
}, { name: 'events', fastify: '5.x', encapsulate: true, dependencies: ['core', 'event-services'] })
