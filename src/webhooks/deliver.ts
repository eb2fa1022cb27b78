import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { Encryptor } from '../access/secrets.ts'
import { type EgressGuard, EgressRefusal } from '../egress/guard.ts'
import { guardedPost, type PostAnswer } from '../egress/requests.ts'
import { type Destination, open } from '../jobs/webhook-request.ts'
import { messageOf } from '../lib/errors.ts'
import { ownFaultOf } from '../lib/http/client.ts'
import type { Log } from '../lib/logging.ts'
import { eventLifetime, nextDelay, retryAfter, type RetrySchedule } from '../lib/retry-schedule.ts'
import { storageFaultOf } from '../media/storage-fault.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traced, type Tracing } from '../telemetry/tracing.ts'
import type { Deliveries } from './deliveries.ts'
import type { Delivery, DeliveryAttempt, DeliveryChange, WebhookEntry } from './delivery.ts'
import type { EndpointOutcome, Endpoints, Receiver } from './endpoints.ts'
import { withFiles } from './event-body.ts'
import { isSigningKey, type KeyFacts, type SigningKeys, signatures } from './signing-keys.ts'

/** The outcome of one HTTP try. */
type TryOutcome = { readonly answer: PostAnswer } | { readonly error: unknown }

/** Meaning of a try: for the delivery, and for the endpoint. */
interface Meaning {
  readonly kind: 'delivered' | 'retry' | 'stop'
  readonly state: 'delivered' | 'failed' | 'blocked' | 'skipped'
  /** In words; null when it was delivered. */
  readonly reason: string | null
  readonly endpoint: EndpointOutcome
  readonly pace: 'usual' | 'calm'
  /** Milliseconds that the receiver asked for. */
  readonly minDelay: number
}

const usual = { pace: 'usual', minDelay: 0 } as const
/** Answers that ask to slow down. */
const busyStatuses = new Set([429, 502, 503, 504])
const shownHeaders = ['content-type', 'retry-after', 'server', 'date', 'location', 'webhook-delivery']
const shownBodyBytes = 4096

/** Standard Webhooks: 2xx is success and nothing else, a redirect is none, 410 ends it, 429 and 503 slow it down. */
export function meaningOf (outcome: TryOutcome, now: number): Meaning {
  if ('error' in outcome) {
    const reason = messageOf(outcome.error)
    return outcome.error instanceof EgressRefusal
      ? { kind: 'stop', state: 'blocked', reason, endpoint: 'none', ...usual }
      : { kind: 'retry', state: 'failed', reason, endpoint: 'failure', ...usual }
  }
  const { status, headers } = outcome.answer
  if (status >= 200 && status < 300) {
    return { kind: 'delivered', state: 'delivered', reason: null, endpoint: 'success', ...usual }
  }
  if (status === 410) {
    return { kind: 'stop', state: 'failed', reason: 'the receiver answered 410 (gone)', endpoint: 'gone', ...usual }
  }
  if (headers['webhook-delivery'] === 'abort-message') {
    return { kind: 'stop', state: 'failed', reason: `the receiver said ${status} and to stop`, endpoint: 'failure', ...usual }
  }
  const failure = { kind: 'retry', state: 'failed', endpoint: 'failure' } as const
  if (status >= 300 && status < 400) {
    return { ...failure, reason: `the receiver said ${status}; redirects are not followed, update the URL`, ...usual }
  }
  const reason = `the receiver said ${status}`
  if (busyStatuses.has(status)) {
    return { ...failure, reason, pace: 'calm', minDelay: retryAfter(headers['retry-after'], now) }
  }
  return { ...failure, reason, ...usual }
}

/** The helpful headers of an answer, without queries of addresses. */
function shownHeadersOf (headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(shownHeaders.flatMap(name => {
    const value = headers[name]
    const text = Array.isArray(value) ? value.join(', ') : value
    return text === undefined ? [] : [[name, text.slice(0, 500).replace(/\?.*/s, '')]]
  }))
}

/** The beginning of an answer's body for administrators; receivers like to echo what they got, secrets included. */
export function shownBodyOf (body: Buffer, secrets: readonly string[]): string {
  const text = body.subarray(0, shownBodyBytes).toString('utf8')
  return secrets.filter(secret => secret !== '').reduce((shown, secret) => shown.replaceAll(secret, '***'), text)
}

/**
 * The queue's next step with a delivery. Only `retry` follows an attempt; `wait`: not yet time, `busy`: no free slot.
 */
export type NextStep =
  | { readonly kind: 'done' }
  | { readonly kind: 'retry' | 'wait', readonly delayMs: number }
  /** This machine could not connect, for a reason of its own. */
  | { readonly kind: 'own-fault', readonly delayMs: number, readonly code: string }
  | { readonly kind: 'busy' }

export interface Attempted {
  readonly next: NextStep
  /** Null if the delivery is unknown. */
  readonly receiver: Receiver | null
}

export interface Deliverer {
  /** Makes the next attempt of a round, if it is still due. */
  attempt (id: string, round: number): Promise<Attempted>
  /** The delivery that has waited longest for this receiver; its taker makes the attempt. Null while stopping. */
  following (receiver: Receiver): Promise<WebhookEntry | null>
  /** Breaks off the attempts in progress, which then do not count and are repeated by another process. */
  stop (): void
}

export interface DelivererDependencies {
  readonly deliveries: Deliveries
  readonly endpoints: Endpoints
  readonly signingKeys: SigningKeys
  readonly encryptor: Encryptor
  readonly guard: Pick<EgressGuard, 'client'>
  readonly schedule: RetrySchedule
  /** Milliseconds for a whole attempt. */
  readonly timeout: number
  /** Content of an output image; null if it was removed. @throws ServiceError `storage_full` */
  readonly readFile: (name: string) => Promise<Buffer | null>
  /** Whether the job has newer progress, so that this one is of no interest any more. */
  readonly isOutdated: (delivery: Delivery) => Promise<boolean>
  readonly userAgent: string
  readonly metrics: Pick<Metrics, 'deliveryTried'>
  readonly tracing: Tracing
  readonly log: Log
  readonly now?: () => number
  readonly random?: () => number
}

/** Facts about an attempt besides its outcome. */
interface AttemptFacts {
  readonly startedAt: number
  readonly body: Buffer
  readonly secrets: readonly string[]
  readonly nextAt: number | null
}

/** Delay if this machine cannot connect, in milliseconds. */
const ownFaultWait = 5000
/** Progress is worth little and late progress nothing: one short attempt. */
const progressTimeout = 5000
const done: NextStep = { kind: 'done' }

export function createDeliverer (dependencies: DelivererDependencies): Deliverer {
  const { deliveries, endpoints, signingKeys, encryptor, guard, schedule, timeout } = dependencies
  const { userAgent, metrics, tracing, log } = dependencies
  const { readFile, isOutdated, now = Date.now, random = Math.random } = dependencies
  const lifetime = eventLifetime(schedule)
  const leaving = new AbortController()

  async function attempt (id: string, round: number): Promise<Attempted> {
    const delivery = await deliveries.find(id)
    if (delivery === null) return { next: done, receiver: null }
    const { endpoint, keyId } = delivery
    return { next: await nextOf(delivery, round), receiver: { endpoint, keyId } }
  }

  async function nextOf (delivery: Delivery, round: number): Promise<NextStep> {
    if (delivery.state !== 'pending' || delivery.round !== round) return done
    // A fallback queue entry, because another one made the last attempt, can come early.
    const early = (delivery.nextAt ?? 0) - now()
    // If the clock went back meanwhile, the entry has waited its full time.
    if (early > 0 && (delivery.nextSetAt ?? 0) <= now()) return { kind: 'wait', delayMs: early }
    const key = await signingKeys.read(delivery.keyId)
    const obstacle = await obstacleOf(delivery, key)
    if (obstacle !== null) return await settle(delivery, obstacle)
    const destination = destinationOf(delivery)
    if (destination === null) return await skip(delivery, 'its address was sealed under a master key that is not known')
    const compatibility = await endpoints.enter(delivery)
    // A test shows whether an endpoint that was given up is back.
    if (delivery.type === 'webhook.test' && compatibility.kind !== 'busy') return await send(delivery, key, destination)
    switch (compatibility.kind) {
      case 'busy': return { kind: 'busy' }
      case 'open': return { kind: 'wait', delayMs: compatibility.waitMs }
      case 'gone': return await skip(delivery, 'the receiver said 410 lately; a test that succeeds opens it again')
      case 'disabled': return await skip(delivery, 'the receiver failed for 5 days; enable its endpoint again')
      case 'enter': return await send(delivery, key, destination)
    }
  }

  /** Why nothing must be sent, whatever the receiver's state. */
  async function obstacleOf (delivery: Delivery, key: KeyFacts): Promise<DeliveryChange | null> {
    const ended = (state: 'skipped' | 'failed', reason: string): DeliveryChange => ({ state, reason, nextAt: null })
    if (!key.active) return ended('skipped', 'the access key was removed or switched off')
    if (now() - delivery.roundAt > lifetime) return ended('failed', 'it is older than the schedule lasts')
    if (delivery.type === 'job.progress' && await isOutdated(delivery)) return ended('skipped', 'something newer is known')
    return null
  }

  async function settle (delivery: Delivery, change: DeliveryChange): Promise<NextStep> {
    await deliveries.change(delivery, change)
    return done
  }

  async function skip (delivery: Delivery, reason: string): Promise<NextStep> {
    return await settle(delivery, { state: 'skipped', reason, nextAt: null })
  }

  function destinationOf ({ id, sealed, owner }: Delivery): Destination | null {
    try {
      return open(encryptor, sealed, owner)
    } catch (error) {
      log.error({ event: id, err: error }, 'the address of a webhook cannot be read')
      return null
    }
  }

  async function send (delivery: Delivery, key: KeyFacts, destination: Destination): Promise<NextStep> {
    const startedAt = now()
    let meaning: Meaning | undefined
    try {
      const body = await bodyOf(delivery)
      const headers = headersOf(delivery, body, key, destination)
      const outcome = await tryTraced(delivery, key, destination.url, headers, body)
      if ('error' in outcome) {
        if (leaving.signal.aborted) return { kind: 'wait', delayMs: 0 }
        const code = ownFaultOf(outcome.error)
        if (code !== null) return ownFault(delivery, outcome.error, code)
      }
      meaning = meaningOf(outcome, now())
      const delay = delayAfter(delivery, meaning)
      const change = delay === null
        ? { state: meaning.state, reason: meaning.reason, nextAt: null }
        : { state: 'pending' as const, reason: meaning.reason, nextAt: now() + delay }
      const secrets = [destination.key ?? '', ...key.secrets, ...headers['webhook-signature']?.split(' ') ?? []]
      const record = recordOf(delivery, outcome, meaning, { startedAt, body, secrets, nextAt: change.nextAt })
      await deliveries.change(delivery, change, record)
      const { id, type, jobId, shownUrl } = delivery
      const { status, error, durationMs } = record
      const summary = { event: id, type, job: jobId, url: shownUrl, status, error, ms: durationMs }
      metrics.deliveryTried({ outcome: delay === null ? change.state : 'retried', took: durationMs })
      log.info({ ...summary, attempt: record.attempt },
        delay === null ? `webhook ${change.state}` : 'webhook failed; it is tried again')
      return delay === null ? done : { kind: 'retry', delayMs: delay }
    } catch (error) {
      // Its images cannot be read just now.
      const fault = storageFaultOf(error)
      if (fault === null) throw error
      return ownFault(delivery, error, fault.errno)
    } finally {
      await endpoints.leave(delivery, meaning?.endpoint ?? 'none', meaning?.pace ?? 'usual')
    }
  }

  function ownFault ({ id }: Delivery, error: unknown, code: string): NextStep {
    log.warn({ event: id, err: error }, 'this machine can send no webhook now; no attempt is used')
    return { kind: 'own-fault', delayMs: ownFaultWait, code }
  }

  /** A receiver that finds images too large gets the links alone. */
  async function bodyOf (delivery: Delivery): Promise<Buffer> {
    const { body, files, format, lastStatus } = delivery
    return await withFiles({ body, format, files: lastStatus === 413 ? [] : files }, readFile)
  }

  function headersOf (
    { id, type, attempts, auth }: Delivery, body: Buffer, { secrets }: KeyFacts, { key }: Destination
  ): Record<string, string> {
    const timestamp = Math.floor(now() / 1000)
    // The job's own key last: it is possibly no proof of anything.
    const signing = [...secrets, ...(key === null ? [] : [key])]
    const sendsKey = key !== null && auth === 'header+signature' && !isSigningKey(key)
    return {
      'content-type': 'application/json',
      'accept-encoding': 'identity',
      'user-agent': userAgent,
      'webhook-id': id,
      'webhook-timestamp': String(timestamp),
      'webhook-signature': signatures({ id, timestamp }, body, signing),
      'x-webhook-event': type,
      'x-webhook-attempt': String(attempts + 1),
      ...(sendsKey ? { 'x-webhook-key': key } : {})
    }
  }

  /** The receiver gets the trace too, so that its own part can join. */
  async function tryTraced (
    delivery: Delivery, key: KeyFacts, url: string, headers: Record<string, string>, body: Buffer
  ): Promise<TryOutcome> {
    const { id, type, jobId, attempts, trace } = delivery
    return await traced(tracing, `webhook ${type}`, {
      kind: 'client',
      parent: trace,
      attributes: { 'stablequeue.event': id, 'stablequeue.job': jobId ?? '', 'stablequeue.attempt': attempts + 1 }
    }, async span => {
      const { traceparent } = span
      const more = traceparent === null ? {} : { traceparent }
      const outcome = await tryOnce(delivery, key, url, { ...headers, ...more }, body)
      if ('answer' in outcome) span.set({ 'http.response.status_code': outcome.answer.status })
      else span.fail(outcome.error)
      return outcome
    })
  }

  async function tryOnce (
    { type }: Delivery, { reach }: KeyFacts, url: string, headers: Record<string, string>, body: Buffer
  ): Promise<TryOutcome> {
    const deadline = type === 'job.progress' ? Math.min(progressTimeout, timeout) : timeout
    try {
      const { signal } = leaving
      return { answer: await guardedPost(guard, { url: new URL(url), reach, headers, body, deadline, signal }) }
    } catch (error) {
      return { error }
    }
  }

  /** Null if there is no further attempt. */
  function delayAfter ({ type, failures }: Delivery, { kind, minDelay }: Meaning): number | null {
    const isOneShot = type === 'job.progress' || type === 'webhook.test'
    return kind === 'retry' && !isOneShot ? nextDelay(schedule, failures + 1, minDelay, random) : null
  }

  function recordOf (
    delivery: Delivery, outcome: TryOutcome, { reason }: Meaning, facts: AttemptFacts
  ): DeliveryAttempt {
    const answer = 'answer' in outcome ? outcome.answer : null
    return {
      attempt: delivery.attempts + 1,
      startedAt: facts.startedAt,
      durationMs: now() - facts.startedAt,
      address: answer?.address ?? null,
      status: answer?.status ?? null,
      error: answer === null && 'error' in outcome ? messageOf(outcome.error) : reason,
      headers: answer === null ? {} : shownHeadersOf(answer.headers),
      requestBytes: facts.body.length,
      requestSha256: createHash('sha256').update(facts.body).digest('hex'),
      responseBody: answer === null ? '' : shownBodyOf(answer.body, facts.secrets),
      nextAt: facts.nextAt
    }
  }

  return {
    attempt,
    following: async receiver => leaving.signal.aborted ? null : await endpoints.takeWaiting(receiver),
    stop () { leaving.abort() }
  }
}
