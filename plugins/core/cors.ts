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

// One text, as the plugin would join them for each answer.
const exposed = exposedHeaders.join(', ')

/**
 * Lets pages of the given origins call us with a key. It comes before the access checks, so that preflights, which
 * carry no key, are answered, and the page can read every later refusal. Cookies never cross origins.
 */
const cors: FastifyPluginAsync<CorsOptions> = async (app, { origins }) => {
  // The plugin answers preflights. For all other requests, most of which come from no page, it would copy its options
  // and write 400 bytes of headers each time.
  app.addHook('onRoute', route => {
    if (![route.method].flat().includes('OPTIONS')) route.config = Object.assign({}, route.config, { cors: false })
  })
  if (origins.length > 0) {
    app.addHook('onRequest', (request, reply, done) => {
      const { origin = '', 'access-control-request-private-network': wanted } = request.headers
      // Caches must not give the answer for one origin to another.
      reply.header('vary', 'Origin')
      if (origins.includes(origin)) {
        reply.headers({ 'access-control-allow-origin': origin, 'access-control-expose-headers': exposed })
        // A page from a public address must ask before it reaches a private one.
        // https://wicg.github.io/private-network-access/
        if (request.method === 'OPTIONS' && wanted === 'true') reply.header('access-control-allow-private-network', 'true')
      }
      done()
    })
  }

  await app.register(fastifyCors, {
    origin: [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'],
    allowedHeaders,
    exposedHeaders: exposed,
    maxAge: 600,
    strictPreflight: false
  })
}

export default fp(cors, { name: 'cors', fastify: '5.x', dependencies: ['host-check'] })
