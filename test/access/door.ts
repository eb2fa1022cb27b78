import { randomBytes } from 'node:crypto'
import Fastify, { type FastifyInstance } from 'fastify'
import pino from 'pino'
import apiKeys from '../../plugins/api/api-keys.ts'
import access, { hostCheck } from '../../plugins/core/access.ts'
import cors from '../../plugins/core/cors.ts'
import errors from '../../plugins/core/errors.ts'
import knownPaths from '../../plugins/core/known-paths.ts'
import requestPrefix, { createRequestPrefix } from '../../plugins/core/prefix.ts'
import rateLimit from '../../plugins/core/rate-limit.ts'
import uiSession from '../../plugins/core/ui-session.ts'
import { schemaController } from '../../plugins/core/validation.ts'
import { namedSchemas } from '../../schemas/index.ts'
import { type AccessKeys, createAccessKeys } from '../../src/access/keys.ts'
import { createFailedLogins, createRateLimiter } from '../../src/access/rate-limit.ts'
import { createEncryptor, type MasterKey } from '../../src/access/secrets.ts'
import { createKeySessions, createSessions, createTickets } from '../../src/access/sessions.ts'
import { createHostRules, createTrustRules } from '../../src/access/trust.ts'
import { parseSettings } from '../../src/config/parse.ts'
import { createEgressGuard } from '../../src/egress/guard.ts'
import { createKeys } from '../../src/lib/keys.ts'
import { type ConnectionKind, connectRedis } from '../../src/redis/connections.ts'
import { createEndpoints } from '../../src/webhooks/endpoints.ts'
import { createSigningKeys } from '../../src/webhooks/signing-keys.ts'
import { createWebhookService } from '../../src/webhooks/submission.ts'
import { startTestRedis } from '../redis.ts'

export const adminToken = 'the-admin-token-of-this-test'
export const authToken = 'the-auth-token-of-this-test'

const quiet = pino({ level: 'silent' })

/** A private Redis with connections; each call of `keySpace` starts empty. */
export async function openRedis () {
  const server = await startTestRedis()
  const redis = await connectRedis(server.url, 'request', quiet)
  const subscriber = await connectRedis(server.url, 'subscriber', quiet)
  return {
    server,
    redis,
    subscriber,
    keySpace: () => createKeys(randomBytes(6).toString('hex')),
    /** The connection options for a further process. */
    connect: async (kind: ConnectionKind) => await connectRedis(server.url, kind, quiet),
    async close () {
      redis.disconnect()
      subscriber.disconnect()
      await server.stop()
    }
  }
}

export type TestConnections = Awaited<ReturnType<typeof openRedis>>

export function newMasterKey (): MasterKey {
  return { current: randomBytes(32), previous: null }
}

export interface Door {
  readonly app: FastifyInstance
  readonly accessKeys: AccessKeys
  /** Routes that changed something, in order: a rejected request must leave this empty. */
  readonly changes: string[]
}

/** A small service behind the complete access checks, with a route for each scope. */
export async function openDoor (
  connections: TestConnections, environment: Record<string, string> = {}, now: () => number = Date.now
): Promise<Door> {
  const { redis, subscriber, keySpace } = connections
  const config = parseSettings({ AUTH_TOKEN: authToken, ADMIN_TOKEN: adminToken, ...environment })
  const keys = keySpace()
  const masterKey = newMasterKey()
  const tokens = [config.AUTH_TOKEN, config.ADMIN_TOKEN]
  const accessKeys = await createAccessKeys({
    redis, subscriber, keys, masterKey, defaultRatePerMinute: config.RATE_LIMIT_PER_MINUTE, now
  })
  const sessions = createSessions({ redis, keys, tokens, now })
  const keySessions = createKeySessions({ redis, keys, accessKeys, now })
  const failedLogins = createFailedLogins({ redis, keys, now })
  const changes: string[] = []

  const app = Fastify({ trustProxy: config.TRUSTED_PROXIES, schemaController })
  for (const schema of namedSchemas) app.addSchema(schema)
  await app.register(requestPrefix, { requestPrefix: createRequestPrefix(config) })
  await app.register(knownPaths)
  await app.register(errors)
  await app.register(hostCheck, {
    rules: createHostRules({
      publicHosts: config.PUBLIC_HOSTS, publicUrl: config.PUBLIC_URL, listenerHost: config.HOST
    })
  })
  await app.register(cors, { origins: config.CORS_ORIGINS })
  await app.register(access, {
    accessKeys,
    sessions,
    keySessions,
    failedLogins,
    tokens,
    trust: createTrustRules(config),
    tickets: createTickets({ redis, keys, accessKeys }),
    corsOrigins: config.CORS_ORIGINS,
    publicUrl: config.PUBLIC_URL
  })
  await app.register(rateLimit, { limiter: createRateLimiter({ redis, keys, now }) })
  await app.register(uiSession, {
    sessions,
    keySessions,
    failedLogins,
    usageOf: async () => ({
      limits: { requests_per_minute: null, waiting_jobs: null, share_weight: null, background: false },
      usage: {
        today_since: '2026-11-21T00:00:00.000Z',
        jobs_today: 0,
        waiting: 0,
        running: 0,
        waiting_left: null,
        requests_left: null,
        requests_full_at: null
      }
    })
  })
  const encryptor = createEncryptor(masterKey)
  const signingKeys = createSigningKeys({ redis, keys, encryptor, masterKey })
  const guard = createEgressGuard({ settings: { profile: 'public', allow: [] }, places: () => [] })
  const endpoints = createEndpoints(redis, keys, { perKey: 8, perEndpoint: 2, slotLifetime: 1000 })
  const service = createWebhookService({ encryptor, guard, signingKeys, endpoints, requireHttps: false, publicUrl: '' })
  app.decorate('accessKeys', accessKeys)
  app.decorate('signingKeys', signingKeys)
  app.decorate('webhookService', service)
  await app.register(apiKeys)

  app.get('/health', { config: { access: 'public' } }, async () => ({ ok: true }))
  app.get('/who', { config: { access: { scope: 'jobs:read' } } }, async ({ principal }) => ({
    kind: principal.kind, name: principal.name, keyId: principal.keyId
  }))
  app.get('/job', { config: { access: { scope: 'jobs:read', bucket: 'status' } } }, async () => ({ status: 'pending' }))
  app.post('/jobs', { config: { access: { scope: 'jobs:write' } } }, async () => change('jobs'))
  app.put('/models', { config: { access: { scope: 'models:write' } } }, async () => change('models'))
  app.delete('/servers', { config: { access: { scope: 'servers:admin' } } }, async () => change('servers'))
  app.post('/undeclared', async () => change('undeclared'))
  app.get('/broken', { config: { access: { scope: 'jobs:read' } } }, async () => { throw new Error('broken') })

  app.addHook('onClose', async () => await accessKeys.close())
  await app.ready()
  return { app, accessKeys, changes }

  function change (what: string) {
    changes.push(what)
    return { changed: what }
  }
}

export function keyHeaders ({ key, secret }: { key: string, secret: string }) {
  return { 'x-api-key': key, 'x-api-secret': secret }
}
