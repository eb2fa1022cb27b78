import websocket from '@fastify/websocket'
import fp from 'fastify-plugin'
import { maySeeJob } from '../../src/access/principal.ts'
import { createRateLimiter } from '../../src/access/rate-limit.ts'
import { createHostRules, createTrustRules } from '../../src/access/trust.ts'
import { createFleetMetrics } from '../../src/jobs/fleet-metrics.ts'
import { createUsageReader } from '../../src/jobs/usage.ts'
import { processMetrics } from '../../src/telemetry/metrics.ts'
import access, { hostCheck } from './access.ts'
import bodyIntake from './body-intake.ts'
import body from './body.ts'
import cors from './cors.ts'
import dashboard from './dashboard.ts'
import errors from './errors.ts'
import health from './health.ts'
import heldRequests from './held-requests.ts'
import knownInput from './known-input.ts'
import knownPaths from './known-paths.ts'
import metrics from './metrics.ts'
import openapi from './openapi.ts'
import outputs from './outputs.ts'
import rateLimit from './rate-limit.ts'
import requestLog, { requestTrace } from './request-log.ts'
import uiSession from './ui-session.ts'
import ui from './ui.ts'

/** Longest message of a client, in bytes. */
const longestMessage = 16 * 1024

/**
 * Lets routes speak WebSocket. It comes before all routes, since it also answers upgrades to other routes. The module
 * that opens sockets ends them when the service stops.
 */
const webSocket = fp(async app => {
  await app.register(websocket, {
    options: { maxPayload: longestMessage },
    preClose (done) { done() },
    errorHandler (error, socket, request) {
      request.log.debug({ err: error }, 'a socket broke off')
      socket.terminate()
    }
  })
}, { name: 'websocket', fastify: '5.x' })

/** Hooks of every request, in their order; then the routes that belong to no interface. */
export default fp(async app => {
  const { config, redis, keys, accessKeys, sessions, keySessions, failedLogins, tickets, media: store, storage } = app

  await app.register(knownPaths)
  await app.register(webSocket)
  await app.register(requestLog)
  await app.register(requestTrace, { tracing: app.tracing })
  await app.register(errors)
  await app.register(knownInput)
  await app.register(openapi, { publicUrl: config.PUBLIC_URL })
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
    tickets,
    tokens: app.fullTokens,
    asksForToken: config.AUTH_TOKEN !== '',
    trust: createTrustRules(config),
    corsOrigins: config.CORS_ORIGINS,
    publicUrl: config.PUBLIC_URL
  })
  const limiter = createRateLimiter({ redis, keys })
  await app.register(rateLimit, { limiter })
  await app.register(bodyIntake, { config })
  await app.register(heldRequests, { config })
  await app.register(body, { config, store, storage, texts: app.uploadTexts })

  await app.register(health)
  await app.register(uiSession, {
    sessions,
    keySessions,
    failedLogins,
    usageOf: createUsageReader({ list: app.jobList, accessKeys, limiter, waitingPerKey: config.QUEUE_LIMIT_PER_KEY })
  })
  await app.register(ui, { imageOrigin: config.MEDIA_REDIRECT ? app.bucket?.origin ?? null : null })
  const { registry, states, estimates, allQueues: queues } = app
  const fleet = createFleetMetrics({
    redis, keys, registry, states, estimates, queues, targetWaitSeconds: config.TARGET_WAIT_SECONDS
  })
  await app.register(metrics, { metrics: app.metrics, others: [processMetrics, fleet.text] })
  await app.register(dashboard, { queues, registry, readOnly: config.DASHBOARD_READ_ONLY })
  await app.register(outputs, {
    store,
    links: app.imageUrls,
    mayRead: async (request, name) => {
      const owner = await app.jobStore.ownerOfOutput(name)
      return owner !== undefined && maySeeJob(request.principal, owner)
    }
  })
}, { name: 'core', fastify: '5.x', dependencies: ['process', 'access-services'] })
