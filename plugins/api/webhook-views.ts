import type { DeliveryAttemptView, DeliveryView, EndpointView } from '../../schemas/webhook.ts'
import { iso } from '../../src/iso.ts'
import type { Delivery, DeliveryAttempt } from '../../src/webhooks/delivery.ts'
import type { Endpoint } from '../../src/webhooks/endpoints.ts'

/** Path of the deliveries. */
export const deliveriesPath = '/api/v1/webhooks/deliveries'

/** A delivery as callers see it: never with its key or the query of its address. */
export function deliveryView (delivery: Delivery): DeliveryView {
  const self = `${deliveriesPath}/${delivery.id}`
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
      ...(delivery.jobId === null ? {} : { job: `/api/v2/jobs/${delivery.jobId}` })
    }
  }
}

/** An attempt for everybody who may see the delivery. */
export function attemptView (attempt: DeliveryAttempt): DeliveryAttemptView {
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

/** The same with what the receiver answered: shown to others, it would let them read what only we can reach. */
export function attemptViewForAdministrators (attempt: DeliveryAttempt): DeliveryAttemptView {
  return { ...attemptView(attempt), response_body: attempt.responseBody }
}

export function endpointView (endpoint: Endpoint): EndpointView {
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
