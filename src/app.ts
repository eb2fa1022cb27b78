import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import accessPlugin from '../plugins/core/access.ts'
import bodyPlugin from '../plugins/core/body.ts'
import bodyIntakePlugin from '../plugins/core/body-intake.ts'
import corsPlugin from '../plugins/core/cors.ts'
import dashboardPlugin from '../plugins/core/dashboard.ts'
import errorsPlugin, { answerClientError, answerFrameworkError } from '../plugins/core/errors.ts'
import healthPlugin from '../plugins/core/health.ts'
import knownInputPlugin from '../plugins/core/known-input.ts'
import heldRequestsPlugin from '../plugins/core/held-requests.ts'
import hostCheckPlugin from '../plugins/core/host-check.ts'
import { allQueues } from '../queues/all-queues.ts'
import metricsPlugin from '../plugins/core/metrics.ts'
import openapiPlugin from '../plugins/core/openapi.ts'
import outputsPlugin from '../plugins/core/outputs.ts'
import rateLimitPlugin from '../plugins/core/rate-limit.ts'
import requestContextPlugin from '../plugins/core/request-context.ts'
import requestLogPlugin, { newRequestId } from '../plugins/core/request-log.ts'
import uiPlugin from '../plugins/core/ui.ts'
import uiSessionPlugin from '../plugins/core/ui-session.ts'
import { schemaController } from '../plugins/core/validation.ts'
import websocketPlugin from '../plugins/core/websocket.ts'
import apiKeyRoutes from '../plugins/api/api-keys.ts'
import bulkRoutes from '../plugins/api/bulks.ts'
import galleryRoutes from '../plugins/api/gallery.ts'
import generateRoutes from '../plugins/api/generate.ts'
import { createJobViews } from '../plugins/api/job-views.ts'
import jobActionRoutes from '../plugins/api/job-actions.ts'
import jobInputRoutes from '../plugins/api/job-inputs.ts'
import jobRoutes from '../plugins/api/jobs.ts'
import modelRoutes from '../plugins/api/model-routes.ts'
import { createServerViews } from '../plugins/api/server-views.ts'
import readParametersRoute from '../plugins/api/read-parameters.ts'
import settingsRoutes from '../plugins/api/settings.ts'
import serverCheckRoutes from '../plugins/api/server-checks.ts'
import serverRoutes from '../plugins/api/servers.ts'
import webhookRoutes from '../plugins/api/webhooks.ts'
import eventRoutes from '../plugins/events/events.ts'
import jobEventRoutes from '../plugins/events/job-events.ts'
import previewRoute from '../plugins/events/preview.ts'
import { createEventViews } from '../plugins/events/render-event.ts'
import socketRoute from '../plugins/events/socket.ts'
import { createJobTeller } from '../plugins/events/tell-job.ts'
import dropInRoutes from '../plugins/sdapi/drop-in.ts'
import studioRoutes from '../plugins/studio/studio.ts'
import { createFailedLogins } from './access/failed-logins.ts'
import { createHostRules } from './access/host-check.ts'
import { maySeeJob } from './access/principal.ts'
import { createRateLimiter } from './access/rate-limit.ts'
import { createSessions } from './access/sessions.ts'
import { createTickets } from './access/tickets.ts'
import { createTrustRules } from './access/trust.ts'
import { createEventLog } from './events/event-log.ts'
import { openEventFeed } from './events/feed.ts'
import { createOpenConnections } from './events/open-connections.ts'
import { startPlaceTeller } from './events/places.ts'
import { createPreviews } from './events/previews.ts'
import { forgetServer, type House } from './house.ts'
import { createBulks } from './jobs/bulk.ts'
import { createZipDesk } from './jobs/gallery-zip.ts'
import { createGallery } from './jobs/gallery.ts'
import { createIdempotency } from './jobs/idempotency.ts'
import { createJobNotices } from './jobs/notices.ts'
import { createManyJobs } from './jobs/many.ts'
import { removeJob } from './jobs/remove.ts'
import { createSubmitter } from './jobs/submit.ts'
import { createFreshLists } from './servers/fresh-lists.ts'
import { createJobWait } from './jobs/wait.ts'
import { createFleetMetrics } from './metrics/fleet.ts'
import { processMetrics } from './metrics/process.ts'
import { bodyLimitMib } from './media/images.ts'
import { serializeError } from './lib/error-serializer.ts'
import type { Pause } from './sdapi/answer.ts'
import { createDropIn } from './sdapi/drop-in.ts'
import { createShortIds } from './sdapi/short-ids.ts'
import { createCheckDesk } from './server-check/check-desk.ts'
import { createServerDesk } from './servers/desk.ts'
import { createStudio } from './studio/studio.ts'

export interface AppOptions {
  readonly house: House
  readonly logger: FastifyBaseLogger
  /** Tokens with full rights: AUTH_TOKEN and the admin token. */
  readonly tokens: readonly string[]
  /** Between two blanks of an answer of the drop-in that waits; real time unless a test says otherwise. */
  readonly pause?: Pause
}

/** Puts the HTTP service together: the one list of all that it serves, in the order that matters. */
export async function createApp ({ house, logger, tokens, pause }: AppOptions): Promise<FastifyInstance> {
  const { config, redis, keys, store, list, media, inputs, registry, states, accessKeys, webhooks } = house
  const app = Fastify({
    loggerInstance: logger.child({}, { serializers: { err: serializeError } }),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
    genReqId: newRequestId,
    schemaController,
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
    bodyLimit: bodyLimitMib(config) * 1024 * 1024,
    trustProxy: config.TRUSTED_PROXIES.length > 0 ? [...config.TRUSTED_PROXIES] : false,
    routerOptions: { ignoreDuplicateSlashes: true, ignoreTrailingSlash: true, maxParamLength: 512 },
    forceCloseConnections: true,
    requestTimeout: 300_000,
    connectionTimeout: 0,
    http: {
      // Requests that wait for a job send nothing for long; routers forget connections that stay silent.
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      // Fastify sets requestTimeout after the server was made, and Node takes the shorter of the two.
      requestTimeout: 300_000,
      headersTimeout: Math.ceil(config.BODY_STALL_SECONDS * 1000),
      connectionsCheckingInterval: Math.min(5000, Math.ceil(config.BODY_STALL_SECONDS * 500))
    }
  }).withTypeProvider<TypeBoxTypeProvider>()

  const submitter = createSubmitter({
    registry,
    states,
    store,
    inputs,
    queueLimitPerKey: config.QUEUE_LIMIT_PER_KEY,
    limits: { pixels: config.PIXELS_PER_JOB_MEGAPIXELS * 1_000_000, images: config.OUTPUTS_PER_JOB },
    webhooks: webhooks.desk,
    storage: house.storage,
    lists: createFreshLists({ redis, keys, states, connect: house.connect, log: house.log }),
    log: house.log,
    ownUrl: config.PUBLIC_URL === '' ? `http://127.0.0.1:${config.PORT}` : config.PUBLIC_URL,
    waitingOfKey: async keyId => await list.count({ keyId, status: 'pending' })
  })
  const remove = async (jobId: string) => { await removeJob(jobId, { store, media, inputs }) }
  const bulks = createBulks(redis, keys, store, submitter)
  const failedLogins = createFailedLogins({ redis, keys })
  const sessions = createSessions({ redis, keys, tokens })
  const tickets = createTickets({ redis, keys, accessKeys })
  const desk = createServerDesk({
    registry, states, store, connect: house.connect, forget: async id => { await forgetServer(house, id) }
  })

  // With PORT=0 only the listener knows its port.
  app.addHook('onListen', async () => {
    const address = app.server.address()
    if (typeof address === 'object' && address !== null) house.guard.protectPort(address.port)
  })
  const connections = createOpenConnections({ accessKeys, subscriber: house.subscriber, keys })
  const stopping = new AbortController()
  app.addHook('preClose', async () => {
    stopping.abort()
    connections.close()
  })
  await app.register(websocketPlugin)
  await app.register(requestLogPlugin)
  await app.register(requestContextPlugin, { tracing: house.tracing })
  await app.register(errorsPlugin)
  await app.register(knownInputPlugin)
  await app.register(openapiPlugin, { publicUrl: config.PUBLIC_URL })
  await app.register(hostCheckPlugin, {
    rules: createHostRules({
      publicHosts: config.PUBLIC_HOSTS, publicUrl: config.PUBLIC_URL, listenerHost: config.HOST
    })
  })
  await app.register(corsPlugin, { origins: config.CORS_ORIGINS })
  await app.register(accessPlugin, {
    accessKeys,
    sessions,
    failedLogins,
    tokens,
    asksForToken: config.AUTH_TOKEN !== '',
    tickets,
    trust: createTrustRules(config),
    corsOrigins: config.CORS_ORIGINS,
    publicUrl: config.PUBLIC_URL
  })
  await app.register(rateLimitPlugin, { limiter: createRateLimiter({ redis, keys }) })
  await app.register(bodyIntakePlugin, { config })
  await app.register(heldRequestsPlugin, { config })
  await app.register(bodyPlugin, { config, store: media, storage: house.storage, texts: house.uploadTexts })

  await app.register(healthPlugin, { house })
  await app.register(uiSessionPlugin, { sessions, failedLogins })
  await app.register(uiPlugin)
  const fleet = createFleetMetrics({
    redis, keys, registry, states, estimates: house.estimates, queues: () => allQueues(house)
  })
  await app.register(metricsPlugin, { metrics: house.metrics, others: [processMetrics, fleet.text] })
  await app.register(dashboardPlugin, {
    queues: () => allQueues(house), registry, readOnly: config.DASHBOARD_READ_ONLY
  })
  await app.register(outputsPlugin, {
    store: media,
    links: house.imageUrls,
    mayRead: async (request, name) => {
      const owner = await store.ownerOfOutput(name)
      return owner !== undefined && maySeeJob(request.principal, owner)
    }
  })
  await app.register(generateRoutes, {
    submitter, bulks, idempotency: createIdempotency(redis, keys, config.IDEMPOTENCY_HOURS)
  })
  await app.register(readParametersRoute)
  await app.register(bulkRoutes, { bulks, store })
  const notices = await createJobNotices({ subscriber: house.subscriber, keys, store })
  app.addHook('onClose', async () => { notices.close() })
  const jobViews = createJobViews(store, registry, house.estimates)
  const wait = createJobWait(notices, stopping.signal)
  await app.register(jobRoutes, {
    store,
    wait,
    list,
    registry,
    views: jobViews,
    resolveId: createShortIds(redis, keys).resolve,
    remove
  })
  await app.register(jobActionRoutes, { registry, many: createManyJobs({ store, list, remove }) })
  await app.register(jobInputRoutes, { store, inputs })
  const serverViews = createServerViews({ registry, states, store, list, checks: house.checks })
  await app.register(serverRoutes, { desk, views: serverViews, reach: house.reach })
  await app.register(serverCheckRoutes, {
    registry,
    desk: createCheckDesk({
      checks: house.checks, states, isServed: async serverId => await redis.exists(keys.key('lease', serverId)) === 1
    })
  })
  await app.register(apiKeyRoutes, { accessKeys, webhooks })
  await app.register(webhookRoutes, { store, ...webhooks })
  await app.register(modelRoutes, { house })
  const gallery = createGallery({ redis, keys, store, media })
  await app.register(galleryRoutes, {
    gallery, registry, zips: createZipDesk({ redis, keys, gallery, media, log: house.log })
  })
  await app.register(settingsRoutes, { house })

  const feed = await openEventFeed({
    eventLog: createEventLog(redis, keys), subscriber: house.subscriber, keys, log: house.log
  })
  app.addHook('onClose', async () => { feed.close() })
  const places = startPlaceTeller({
    feed, estimates: house.estimates, log: house.log, isHeard: () => connections.count() > 0
  })
  app.addHook('onClose', async () => { places.close() })
  const previews = createPreviews({ feed, redis, subscriber: house.subscriber, keys, log: house.log })
  app.addHook('onClose', async () => { previews.close() })
  const events = {
    feed,
    previews,
    connections,
    tickets,
    registry,
    views: createEventViews(registry),
    jobTeller: createJobTeller({ feed, store, registry, jobViews })
  }
  await app.register(eventRoutes, events)
  await app.register(jobEventRoutes, events)
  await app.register(socketRoute, events)
  await app.register(previewRoute, { previews, store })

  const dropIn = await createDropIn({ house, submitter, notices, pause, stopping: stopping.signal })
  await app.register(dropInRoutes, { dropIn })
  await app.register(studioRoutes, { studio: createStudio(house, submitter, dropIn), feed, wait })
  return app
}
