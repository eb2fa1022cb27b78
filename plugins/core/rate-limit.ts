import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { rateLimitHeaders, type Allowance, type Bucket, type RateLimiter } from '../../src/access/rate-limit.ts'
import { isSafe } from '../../src/access/trust.ts'
import { ServiceError } from '../../src/lib/errors.ts'

export interface RateLimitOptions {
  readonly limiter: RateLimiter
}

/** Limits the requests a minute of each access key, and reports the limit on every answer. */
const rateLimit: FastifyPluginAsync<RateLimitOptions> = async (app, { limiter }) => {
  app.addHook('onRequest', (request, reply, done) => {
    const { keyId, ratePerMinute } = request.principal
    if (keyId === null || ratePerMinute === null) done()
    else limit(request, reply, keyId, ratePerMinute).then(() => { done() }, done)
  })

  async function limit (
    request: FastifyRequest, reply: FastifyReply, keyId: string, ratePerMinute: number
  ): Promise<void> {
    const allowance = await take(request, keyId, ratePerMinute)
    if (allowance === null) return
    reply.headers(rateLimitHeaders(allowance))
    if (allowance.allowed) return
    throw new ServiceError('api_key_rate_limit',
      `${request.principal.name} can make ${allowance.limit} requests a minute; ` +
      `the next is allowed in ${allowance.retryAfterSeconds} s`,
      { limit: allowance.limit, retry_after: allowance.retryAfterSeconds })
  }

  /** Null if Redis does not answer and the request changes nothing, so that it continues uncounted. */
  async function take (request: FastifyRequest, keyId: string, ratePerMinute: number): Promise<Allowance | null> {
    try {
      return await limiter.take(keyId, bucketOf(request), ratePerMinute)
    } catch (error) {
      if (request.method !== 'GET') throw error
      request.log.debug({ err: error }, 'rate limit not counted')
      return null
    }
  }
}

function bucketOf (request: FastifyRequest): Bucket {
  if (request.principal.kind === 'session' && isSafe(request)) return 'pages'
  const { access } = request.routeOptions.config
  return typeof access === 'object' ? access.bucket ?? 'requests' : 'requests'
}

export default fp(rateLimit, { name: 'rate-limit', fastify: '5.x', dependencies: ['access'] })
