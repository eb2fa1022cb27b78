import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { TSchema } from '@sinclair/typebox'
import fp from 'fastify-plugin'
import { namedSchemas } from '../../schemas/index.ts'
import { Ref } from '../../schemas/kit.ts'
import { WebhookEventBody, webhookEvents } from '../../schemas/webhook.ts'
import { version } from '../../src/lib/version.ts'
import { clientDocument } from './client-document.ts'

const header = (name: string, description: string) => ({
  name, in: 'header' as const, required: true, description, schema: { type: 'string' as const }
})

const meanings: Readonly<Record<typeof webhookEvents[number], string>> = {
  'job.started': 'a generation of the job began.',
  'job.progress': 'the job got on by a twentieth or more; at most one each second, sent once, and lost if it fails.',
  'job.completed': 'the job is done; its images are in the event.',
  'job.failed': 'the job failed for good.',
  'job.cancelled': 'the job was cancelled; it can still have images.',
  'webhook.test': 'somebody wanted to see whether events arrive.'
}

/**
 * The request to a receiver, as a callback of the operations that name one. The section `webhooks` of the document has
 * no place in a client: openapi-generator writes operations from it that do not compile in Python.
 */
const eventRequest = (operationId: string) => ({
  '{$request.body#/webhook_url}': {
    post: {
      operationId,
      summary: 'An event of a job',
      description: [
        'Signed by Standard Webhooks 1.0.0. Any 2xx within the time limit is success; 410 means never again. The types:',
        ...webhookEvents.map(type => `- \`${type}\`: ${meanings[type]}`)
      ].join('\n'),
      security: [],
      parameters: [
        header('webhook-id', 'Id of the event, the same at every attempt: what was seen before is a repeat.'),
        header('webhook-timestamp', 'Seconds since 1970, of this attempt.'),
        header('webhook-signature', 'One or more signatures, separated by spaces: v1,<base64 of HMAC-SHA-256>.')
      ],
      requestBody: {
        required: true,
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${WebhookEventBody.$id}` } } }
      },
      responses: { '2XX': { description: 'Got it.' }, 410: { description: 'Send no more here.' } }
    }
  }
})
/** Each with names of its own, which oapi-codegen makes types of. */
const callbacks = {
  'jobs.submit': { jobEvent: eventRequest('jobs.onEvent') },
  'webhooks.test': { testEvent: eventRequest('webhooks.onTestEvent') }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Schema of a body that the route checks itself, in its interface's own words: only for the document. */
    documentedBody?: TSchema
    /** Schemas of answers that bypass any serializer, by status. */
    documentedAnswers?: Readonly<Record<string, TSchema>>
  }
}

export interface OpenapiOptions {
  /** Public address of the service, or empty. */
  readonly publicUrl: string
}

/** Every way of authentication; a route needs one of them, unless it is public. */
const anyCredentials = [{ apiKey: [], apiSecret: [] }, { bearer: [] }, { basic: [] }]

/**
 * For the pages of Swagger UI. Its own policy upgrades every request to https, which leaves the page blank over plain
 * http; its styles draw arrows from data: URLs.
 * @param publicOrigin the service's origin in the document, for requests that are tried out; or empty
 */
function contentSecurityPolicy (publicOrigin: string): string {
  return [
    "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data:",
    "font-src 'self' data:", `connect-src 'self' ${publicOrigin}`.trim(), "base-uri 'self'", "form-action 'self'",
    "frame-ancestors 'none'"
  ].join('; ')
}

/** Runs in the browser: the page can make changes on loopback without a key, as the web UI can. */
function markAsOwnPage<Request> (request: Request): Request {
  const { headers } = request as { headers: Record<string, string> }
  headers['X-Requested-With'] = 'ui'
  return request
}

/**
 * The document for clients that reach the service under a path.
 * @param base see `base` of a request
 */
export function documentAt (document: object, base: string): object {
  const { servers = [] } = document as { readonly servers?: ReadonlyArray<{ readonly url: string }> }
  if (base === '') return document
  return { ...document, servers: servers.map(server => server.url === '/' ? { ...server, url: `${base}/` } : server) }
}

/** The service's documentation, from the schemas that it validates with. */
export default fp<OpenapiOptions>(async (app, { publicUrl }) => {
  for (const schema of namedSchemas) app.addSchema(schema)

  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'StableQueue',
        version,
        description: 'One dependable queue in front of any number of AUTOMATIC1111 and Forge servers: send a prompt ' +
          'and get a job id at once. Through every fault, the job finishes once and its images are kept.',
        license: { name: 'MIT', identifier: 'MIT' }
      },
      servers: [{ url: publicUrl === '' ? '/' : publicUrl, description: 'This service' }],
      tags: [
        { name: 'Jobs', description: 'Submitting jobs, seeing them and acting on them' },
        {
          name: 'Events',
          description: 'What happens, as it happens: as server-sent events, and over WebSockets (`/ws`, and for bots ' +
            '`/ws/jobs/{job_id}` and `/ws/users/{user_id}`), which generated clients cannot open'
        },
        { name: 'Images', description: 'Results' },
        { name: 'Servers', description: 'The Stable Diffusion servers behind the queue' },
        { name: 'Models', description: 'What the servers and the model folders have' },
        { name: 'Webhooks', description: 'Events of jobs, delivered to receivers' },
        { name: 'API keys', description: 'Access keys and their rights' },
        { name: 'Settings', description: 'What is in force, and what can be changed while the service runs' },
        { name: 'Web UI', description: 'Sessions of the web UI' },
        { name: 'A1111', description: 'The same queue for programs written for A1111' },
        { name: 'OpenAI', description: 'Images for programs written for OpenAI\'s API; always with a bearer token' },
        { name: 'Studio', description: 'For bots and phones: users with sessions and presets, and few fields' },
        { name: 'Health', description: 'For balancers and operators' }
      ],
      components: {
        securitySchemes: {
          apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'An access key, together with its secret.' },
          apiSecret: { type: 'apiKey', in: 'header', name: 'X-API-Secret', description: 'The secret of the access key.' },
          bearer: { type: 'http', scheme: 'bearer', description: 'base64 of key:secret, or AUTH_TOKEN, or the admin token; under /v1 and /sdapi/v1 also the secret alone.' },
          basic: { type: 'http', scheme: 'basic', description: 'Key as user name, secret as password.' }
        }
      },
      security: anyCredentials
    },
    refResolver: {
      buildLocalReference: (json, _base, _fragment, index) => typeof json.$id === 'string' ? json.$id : `Schema${index}`
    },
    transformObject: document => clientDocument('openapiObject' in document ? document.openapiObject : {}, callbacks),
    transform: ({ schema, url, route }) => {
      const { access, documentedBody, documentedAnswers } = route.config ?? {}
      const open = access === 'public' ? { security: [] } : {}
      const body = documentedBody === undefined ? {} : { body: Ref(documentedBody) }
      const answers = documentedAnswers === undefined ? {} : { response: documentedAnswers }
      return { schema: { ...schema, ...open, ...body, ...answers }, url }
    }
  })

  for (const prefix of ['/docs', '/doc']) {
    await app.register(async scope => {
      // Swagger UI brings routes of its own; they only show public data.
      scope.addHook('onRoute', route => { route.config = { ...route.config, access: 'public' } })
      scope.addHook('preHandler', async ({ base, routeOptions }, reply) => {
        if (base === '') return
        if (routeOptions.url === `${prefix}/json`) return await reply.send(documentAt(app.swagger(), base))
        if (routeOptions.url !== `${prefix}/yaml`) return
        return await reply.type('application/x-yaml').send(app.swagger({ yaml: true }).replace(/^( {2}- url: )\/$/m, `$1${base}/`))
      })
      // The page has complete paths if its own address ends without a slash.
      scope.addHook('onSend', async ({ base }, reply, payload) => {
        const isPage = typeof payload === 'string' && String(reply.getHeader('content-type')).startsWith('text/html')
        return isPage && base !== '' ? payload.replaceAll(`"${prefix}/static`, `"${base}${prefix}/static`) : payload
      })
      await scope.register(swaggerUi, {
        routePrefix: prefix,
        staticCSP: contentSecurityPolicy(publicUrl === '' ? '' : new URL(publicUrl).origin),
        uiConfig: { persistAuthorization: true, tryItOutEnabled: true, requestInterceptor: markAsOwnPage }
      })
    })
  }

  // FastAPI's paths, for links and clients of its services
  for (const [path, target] of [['/redoc', '/docs'], ['/docs/oauth2-redirect', '/docs/static/oauth2-redirect.html']] as const) {
    app.get(path, { config: { access: 'public' }, schema: { hide: true } }, async (_request, reply) => reply.redirect(target))
  }

  app.get('/openapi.json', { config: { access: 'public' }, schema: { hide: true } }, async ({ base }) => documentAt(app.swagger(), base))
}, { name: 'openapi' })
