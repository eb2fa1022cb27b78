import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify'
import api from '../../plugins/api/index.ts'
import { answerClientError, answerFrameworkError } from '../../plugins/core/errors.ts'
import core from '../../plugins/core/index.ts'
import requestPrefix, { createRequestPrefix } from '../../plugins/core/prefix.ts'
import { newRequestId, takeHeadAsGet } from '../../plugins/core/request-log.ts'
import { schemaController } from '../../plugins/core/validation.ts'
import events from '../../plugins/events/index.ts'
import openai from '../../plugins/openai/index.ts'
import sdapi from '../../plugins/sdapi/index.ts'
import services, { type ServicesOptions } from '../../plugins/services/index.ts'
import bots from '../../plugins/bots/index.ts'
import { serializeError } from '../lib/logging.ts'
import { bodyLimitMib } from '../media/images.ts'

export interface AppOptions extends ServicesOptions {
  readonly logger: FastifyBaseLogger
}

/** The HTTP service: hooks of all requests first, then one folder of plugins after the other. */
export async function createApp ({ logger, ...options }: AppOptions): Promise<FastifyInstance> {
  const { config } = options.services
  const prefix = createRequestPrefix(config)
  const app = Fastify({
    loggerInstance: logger.child({}, { serializers: { err: serializeError } }),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
    genReqId: newRequestId,
    schemaController,
    rewriteUrl: raw => prefix.withoutPrefix(raw, takeHeadAsGet(raw)),
    exposeHeadRoutes: false,
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
    bodyLimit: bodyLimitMib(config) * 1024 * 1024,
    trustProxy: config.TRUSTED_PROXIES.length > 0 ? [...config.TRUSTED_PROXIES] : false,
    routerOptions: { ignoreDuplicateSlashes: true, ignoreTrailingSlash: true, maxParamLength: 512 },
    forceCloseConnections: true,
    // A start on a busy machine takes longer than Fastify's 10 s, after which it would fail.
    pluginTimeout: 120_000,
    requestTimeout: 300_000,
    connectionTimeout: 0,
    http: {
      // Requests that wait for a job send nothing for long; routers forget silent connections.
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      // Fastify sets requestTimeout after creating the server, and Node takes the shorter of the two.
      requestTimeout: 300_000,
      headersTimeout: Math.ceil(config.BODY_STALL_SECONDS * 1000),
      connectionsCheckingInterval: Math.min(5000, Math.ceil(config.BODY_STALL_SECONDS * 500))
    }
  }).withTypeProvider<TypeBoxTypeProvider>()

  await app.register(requestPrefix, { requestPrefix: prefix })
  await app.register(services, options)
  await app.register(core)
  await app.register(api)
  await app.register(events)
  await app.register(sdapi)
  await app.register(openai)
  await app.register(bots)
  return app
}
