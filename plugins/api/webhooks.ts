import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from '@sinclair/typebox'
import type { FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { JobIdParameters } from '../../schemas/job.ts'
import { Closed, Ref, StringEnum, Timestamp } from '../../schemas/kit.ts'
import {
  type DeliveryAttemptView, DeliveryDetail, DeliveryList, DeliveryQuery, DeliveryView, EndpointView, WebhookFields
} from '../../schemas/webhook.ts'
import { mayCancelJob, mayDo, maySeeJob, type Scope, seesAllJobs } from '../../src/access/principal.ts'
import { readWebhookRequest } from '../../src/jobs/webhook-request.ts'
import { ServiceError, refuseMore } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import type { DeliveryFilter } from '../../src/webhooks/deliveries.ts'
import type { Delivery, DeliveryAttempt } from '../../src/webhooks/delivery.ts'
import type { Endpoint } from '../../src/webhooks/endpoints.ts'

/** Path of the deliveries. */
const deliveriesPath = '/api/v1/webhooks/deliveries'

/** A delivery for clients: never with its key or the query of its address. */
function deliveryView (delivery: Delivery, base: string): DeliveryView {
  const self = `${base}${deliveriesPath}/${delivery.id}`
  return {
    id: delivery.id,
    type: delivery.type,
    job_id: delivery.jobId,
    sequence: delivery.sequence,
    state: delivery.state,
    reason: delivery.reason,
    url: delivery.shownUrl,
    endpoint: delivery.endpoint,
    api_key_id: delivery.keyId,
    created_at: iso(delivery.createdAt),
    attempts: delivery.attempts,
    last_status: delivery.lastStatus,
    next_attempt_at: iso(delivery.nextAt),
    finished_at: iso(delivery.finishedAt),
    links: {
      self,
      redeliver: `${self}/redeliver`,
      ...(delivery.jobId === null ? {} : { job: `${base}/api/v2/jobs/${delivery.jobId}` })
    }
  }
}

/** An attempt for every client that can see the delivery. */
function attemptView (attempt: DeliveryAttempt): DeliveryAttemptView {
  return {
    attempt: attempt.attempt,
    started_at: iso(attempt.startedAt),
    duration_ms: attempt.durationMs,
    address: attempt.address,
    status: attempt.status,
    error: attempt.error,
    headers: { ...attempt.headers },
    request_bytes: attempt.requestBytes,
    request_sha256: attempt.requestSha256,
    next_at: iso(attempt.nextAt)
  }
}

/** The same with the receiver's answer, for few: it would show others data that only we can reach. */
function attemptViewForAdministrators (attempt: DeliveryAttempt): DeliveryAttemptView {
  return { ...attemptView(attempt), response_body: attempt.responseBody }
}

function endpointView (endpoint: Endpoint): EndpointView {
  return {
    id: endpoint.id,
    url: endpoint.url,
    api_key_id: endpoint.keyId,
    state: endpoint.state,
    consecutive_failures: endpoint.failures,
    failing_since: iso(endpoint.failingSince),
    next_try_at: iso(endpoint.state === 'open' ? endpoint.openUntil : null),
    last_success_at: iso(endpoint.succeededAt),
    last_used_at: iso(endpoint.usedAt)
  }
}

const base = '/api/v1/webhooks'
const tags = ['Webhooks']
const reading = { access: { scope: 'jobs:read' } } as const
const changing = { access: { scope: 'jobs:write' } } as const
const success = Type.Literal(true, { description: 'Always true.' })
const EventId = Type.Object({ id: Type.String({ maxLength: 64, description: 'Id of the event.' }) })
const EndpointId = Type.Object({ id: Type.String({ maxLength: 64, description: 'Id of the endpoint.' }) })
const OneDelivery = Type.Object({ success, delivery: Ref(DeliveryView) }, { description: 'The delivery as it is now.' })
const OneEndpoint = Type.Object({ success, endpoint: Ref(EndpointView) }, { description: 'The endpoint as it is now.' })

/** Deliveries, endpoints and their actions; a key sees those of its own jobs. */
const webhooks: FastifyPluginAsyncTypebox = async app => {
  const { jobStore: store, deliveries, endpoints, webhookService: service, deliveryService, signingKeys } = app

  /** Another's delivery is answered as not found. */
  async function find (request: FastifyRequest, id: string, allowed: typeof maySeeJob): Promise<Delivery> {
    const delivery = await deliveries.find(id)
    if (delivery !== null && allowed(request.principal, delivery.keyId)) return delivery
    throw new ServiceError('delivery_not_found', `There is no delivery ${id}.`)
  }

  async function findEndpoint (request: FastifyRequest, id: string): Promise<Endpoint> {
    const endpoint = await endpoints.get(id)
    if (mayCancelJob(request.principal, endpoint.keyId)) return endpoint
    throw new ServiceError('endpoint_not_found', `There is no endpoint ${id}.`)
  }

  /** @param scope that grants the deliveries of others */
  function toFilter ({ principal }: FastifyRequest, query: DeliveryQuery, scope: Scope): DeliveryFilter {
    const { state, type, endpoint, search = '', since, until } = query
    return {
      ...(mayDo(principal, scope) ? {} : { keyId: principal.keyId ?? 'nobody' }),
      ...(state === undefined ? {} : { state }),
      ...(since === undefined ? {} : { since: Date.parse(since) }),
      ...(until === undefined ? {} : { until: Date.parse(until) }),
      fits: delivery => (type === undefined || delivery.type === type) &&
        (endpoint === undefined || delivery.endpoint === endpoint) &&
        [delivery.id, delivery.jobId ?? '', delivery.shownUrl].some(text => text.includes(search))
    }
  }

  app.get(deliveriesPath, {
    config: reading,
    schema: {
      operationId: 'webhooks.listDeliveries',
      tags,
      summary: 'List and search deliveries',
      description: 'Newest first. With filters a page can be short although there is a `next_cursor`.',
      querystring: DeliveryQuery,
      response: { 200: { ...Ref(DeliveryList), description: 'One page.' }, ...errorResponses(400, 403) }
    }
  }, async request => {
    const { limit = 50, cursor = '0' } = request.query
    const filter = toFilter(request, request.query, 'jobs:read:all')
    const { deliveries: found, nextOffset } = await deliveries.list(filter, Number(cursor), limit)
    return {
      success: true as const,
      count: found.length,
      deliveries: found.map(delivery => deliveryView(delivery, request.base)),
      next_cursor: nextOffset === null ? null : String(nextOffset)
    }
  })

  app.get(`${deliveriesPath}/:id`, {
    config: reading,
    schema: {
      operationId: 'webhooks.getDelivery',
      tags,
      summary: 'One delivery with all its attempts',
      params: EventId,
      response: { 200: { ...Ref(DeliveryDetail), description: 'The delivery.' }, ...errorResponses(403, 404) }
    }
  }, async request => {
    const delivery = await find(request, request.params.id, maySeeJob)
    const view = mayDo(request.principal, 'queue:admin') ? attemptViewForAdministrators : attemptView
    return {
      success: true as const,
      delivery: deliveryView(delivery, request.base),
      body: delivery.body,
      attempts: (await deliveries.attempts(delivery.id)).map(view)
    }
  })

  for (const { path, act, summary, description } of [
    { path: 'redeliver', act: deliveryService.redeliver, summary: 'Send an event again', description: 'Under the same id, with the same body and a fresh schedule.' },
    { path: 'stop', act: deliveryService.stop, summary: 'Send no more of an event', description: 'A running attempt still finishes.' }
  ]) {
    app.post(`${deliveriesPath}/:id/${path}`, {
      config: changing,
      schema: {
        operationId: `webhooks.${path}Delivery`,
        tags,
        summary,
        description,
        params: EventId,
        response: { 200: OneDelivery, ...errorResponses(403, 404) }
      }
    }, async request => ({
      success: true as const,
      delivery: deliveryView(await act(await find(request, request.params.id, mayCancelJob)), request.base)
    }))
  }

  app.post(`${base}/redeliver`, {
    config: changing,
    schema: {
      operationId: 'webhooks.redeliver',
      tags,
      summary: 'Send again what failed in a time span',
      description: 'Oldest first, each under its own id. Without state, what failed.',
      body: Closed({
        since: Timestamp('Events that happened at or after this moment.'),
        until: Type.Optional(Timestamp('Events that happened before this moment; default: now.')),
        state: Type.Optional(StringEnum(['failed', 'blocked', 'skipped'], { default: 'failed', description: 'Results.' })),
        type: DeliveryQuery.properties.type,
        endpoint: Type.Optional(Type.String({ maxLength: 64, description: 'Only those of this endpoint.' })),
        search: DeliveryQuery.properties.search,
        expected: Type.Optional(Type.Integer({
          minimum: 0, description: 'How many the caller expects: where there are more, nothing is sent and the answer is 409 with their number.'
        })),
        dry_run: Type.Optional(Type.Boolean({ default: false, description: 'true: only count them.' }))
      }),
      response: {
        200: Type.Object({
          success, count: Type.Integer({ description: 'How many are sent again, or would be.' })
        }, { description: 'They are on their way, or were counted.' }),
        ...errorResponses(400, 403, 409)
      }
    }
  }, async request => {
    const { state = 'failed', expected, dry_run: isDryRun = false, ...span } = request.body
    const found = await deliveryService.find(toFilter(request, { ...span, state }, 'jobs:cancel:all'))
    if (!isDryRun) {
      refuseMore(found.length, expected)
      await deliveryService.redeliverAll(found)
    }
    return { success: true as const, count: found.length }
  })

  app.post(`${base}/test`, {
    config: changing,
    schema: {
      operationId: 'webhooks.test',
      tags,
      summary: 'Send a test event now',
      description: 'Checked and signed like events of jobs, with one attempt. Answers 200 for any answer of the receiver; ' +
        'the delivery has the result. A successful test enables an endpoint that was gone, disabled or in a break. ' +
        'With `webhook_url` null, the endpoint of the access key is tested.',
      body: Ref(WebhookFields),
      response: { 200: { ...Ref(DeliveryDetail), description: 'Result.' }, ...errorResponses(400, 403, 422) }
    }
  }, async request => {
    const checked = await service.check(readWebhookRequest(request.body), request.principal.keyId)
    if (checked === null) {
      throw new ServiceError('missing_required_field',
        'webhookUrl is required: the key has no default endpoint either.', { field: 'webhookUrl' })
    }
    const delivery = await deliveryService.test(checked)
    return {
      success: true as const,
      delivery: deliveryView(delivery, request.base),
      body: delivery.body,
      attempts: (await deliveries.attempts(delivery.id)).map(attemptView)
    }
  })

  app.get(`${base}/endpoints`, {
    config: reading,
    schema: {
      operationId: 'webhooks.listEndpoints',
      tags,
      summary: 'List endpoints and their states',
      response: {
        200: Type.Object({
          success, endpoints: Type.Array(Ref(EndpointView), { description: 'Most recently used first.' })
        }, { description: 'The endpoints of the last 7 days.' }),
        ...errorResponses(403)
      }
    }
  }, async ({ principal }) => {
    const found = await endpoints.list(seesAllJobs(principal) ? null : principal.keyId ?? 'nobody')
    return { success: true as const, endpoints: found.map(endpointView) }
  })

  app.post(`${base}/endpoints/:id/enable`, {
    config: changing,
    schema: {
      operationId: 'webhooks.enableEndpoint',
      tags,
      summary: 'Send to an endpoint again',
      description: 'Enables an endpoint that was gone, disabled or in a break.',
      params: EndpointId,
      response: { 200: OneEndpoint, ...errorResponses(403, 404) }
    }
  }, async request => {
    const { id } = await findEndpoint(request, request.params.id)
    return { success: true as const, endpoint: endpointView(await endpoints.enable(id)) }
  })

  app.get(`${base}/secret`, {
    config: { access: { scope: 'keys:admin' } },
    schema: {
      operationId: 'webhooks.getSecret',
      tags,
      summary: 'The secret of jobs without an access key',
      description: 'Signs the events of jobs that the web UI or an admin token submitted. It follows from the master ' +
        'key and changes with it.',
      response: {
        200: Type.Object({
          success, webhook_secret: Type.String({ description: 'whsec_…, for Standard Webhooks libraries.' })
        }, { description: 'The secret.' }),
        ...errorResponses(403)
      }
    }
  }, async () => ({ success: true as const, webhook_secret: signingKeys.ownSecret }))

  for (const version of ['v1', 'v2']) {
    app.get(`/api/${version}/jobs/:jobId/webhooks`, {
      config: reading,
      schema: {
        operationId: 'jobs.listWebhooks',
        tags,
        summary: 'Deliveries of one job',
        params: JobIdParameters,
        response: { 200: { ...Ref(DeliveryList), description: 'All of them.' }, ...errorResponses(403, 404) }
      }
    }, async request => {
      const { jobId } = request.params
      const job = await store.find(jobId)
      if (job === null || !maySeeJob(request.principal, job.keyId)) {
        throw new ServiceError('job_not_found', `There is no job ${jobId}.`, { job_id: jobId })
      }
      const found = await deliveries.ofJob(jobId)
      const views = found.map(delivery => deliveryView(delivery, request.base))
      return { success: true as const, count: found.length, deliveries: views, next_cursor: null }
    })
  }
}

export default webhooks
