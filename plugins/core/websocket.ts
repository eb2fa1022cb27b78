import websocket from '@fastify/websocket'
import fp from 'fastify-plugin'

/** Longest message of a client, in bytes. */
const longestMessage = 16 * 1024

/**
 * Lets routes speak WebSocket. It comes before all routes, since it also answers upgrades to other routes. The module
 * that opens sockets ends them when the service stops.
 */
export default fp(async app => {
  await app.register(websocket, {
    options: { maxPayload: longestMessage },
    preClose (done) { done() },
    errorHandler (error, socket, request) {
      request.log.debug({ err: error }, 'a socket broke off')
      socket.terminate()
    }
  })
}, { name: 'websocket', fastify: '5.x' })
