import fastifyCors from '@fastify/cors'
import type { FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'

export interface CorsOptions {
  /** Exact origins, such as http://localhost:7860. */
  readonly origins: readonly string[]
}

const exposedHeaders = [
  'RateLimit', 'RateLimit-Policy', 'RateLimit-Limit', 'RateLimit-Remaining', 'RateLimit-Reset',
  'X-RateLimit-Limit', 'X-RateLimit-Remaining', 'X-RateLimit-Reset',
  'Retry-After', 'Idempotency-Replayed', 'X-Request-Id', 'Location', 'Content-Disposition', 'X-Job-ID', 'Preference-Applied'
]

const allowedHeaders = [
  'Origin', 'Accept', 'Content-Type', 'Authorization', 'X-API-Key', 'X-API-Secret', 'X-Requested-With',
  'Idempotency-Key', 'Last-Event-ID', 'Prefer', 'X-StableQueue-Server',
  // OpenAI's own package sends these from a page too.
  'OpenAI-Organization', 'OpenAI-Project', 'OpenAI-Beta',
  ...['OS', 'Arch', 'Lang', 'Package-Version', 'Retry-Count', 'Runtime', 'Runtime-Version', 'Timeout', 'Helper-Method']
    .map(name => `X-Stainless-${name}`)
]

/**
 * Lets pages of the given origins call us with a key. It comes before the access checks, so that preflights, which
 * carry no key, are answered, and the page can read every later refusal. Cookies never cross origins.
 */
const cors: FastifyPluginAsync<CorsOptions> = async (app, { origins }) => {
  if (origins.length > 0) {
    // A page from a public address must ask before it reaches a private one.
    // https://wicg.github.io/private-network-access/
    app.addHook('onRequest', (request, reply, done) => {
      const { origin = '', 'access-control-request-private-network': wanted } = request.headers
      if (request.method === 'OPTIONS' && wanted === 'true' && origins.includes(origin)) {
        reply.header('Access-Control-Allow-Private-Network', 'true')
      }
      done()
    })
  } else {
    // Only preflights, whose route the plugin adds itself, get an answer of it.
    app.addHook('onRoute', route => {
      if (route.method !== 'OPTIONS') route.config = Object.assign({}, route.config, { cors: false })
    })
  }

  await app.register(fastifyCors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    allowedHeaders,
    // One text, as the plugin would join them for each answer.
    exposedHeaders: exposedHeaders.join(', '),
    maxAge: 600,
    strictPreflight: false
  })
}

export default fp(cors, { name: 'cors', fastify: '5.x', dependencies: ['host-check'] })
