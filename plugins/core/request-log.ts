import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'

/** Ids of requests, in the log, in the header X-Request-Id and in every error. */
export const newRequestId = (): string => randomUUID()

/** Questions that balancers and pages ask all the time; they are logged only when something is wrong. */
const quiet = new Set(['/health', '/ready', '/status', '/metrics'])

/** One line for each request once it is answered, with who asked. */
export default fp(async app => {
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id)
  })
  app.addHook('onResponse', async (request, reply) => {
    const { method, routeOptions, url } = request
    const weight = reply.statusCode >= 500 ? 'warn' : quiet.has(routeOptions.url ?? '') ? 'debug' : 'info'
    request.log[weight]({
      method,
      // What stands behind the question mark may be private.
      path: url.split('?')[0],
      status: reply.statusCode,
      ms: Math.round(reply.elapsedTime * 10) / 10,
      caller: request.principal?.keyId ?? request.principal?.kind,
      peer: request.ip
    }, 'request')
  })
}, { name: 'request-log' })
