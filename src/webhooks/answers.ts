import type { IncomingHttpHeaders } from 'node:http'
import { EgressRefusal } from '../egress/guard.ts'
import type { PostAnswer } from '../egress/post.ts'
import { messageOf } from '../errors.ts'
import type { EndpointOutcome } from './endpoints.ts'
import { retryAfter } from './schedule.ts'

/** What came of one HTTP try. */
export type TryOutcome = { readonly answer: PostAnswer } | { readonly error: unknown }

/** What a try means: for the delivery, and for the endpoint. */
export interface Meaning {
  readonly kind: 'delivered' | 'retry' | 'stop'
  readonly state: 'delivered' | 'failed' | 'blocked' | 'skipped'
  /** In words; null when it was delivered. */
  readonly reason: string | null
  readonly endpoint: EndpointOutcome
  readonly pace: 'usual' | 'calm'
  /** Milliseconds that the receiver asked for. */
  readonly leastDelay: number
}

const usual = { pace: 'usual', leastDelay: 0 } as const
/** Answers that say: not so fast. */
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
    return { ...failure, reason, pace: 'calm', leastDelay: retryAfter(headers['retry-after'], now) }
  }
  return { ...failure, reason, ...usual }
}

/** The headers of an answer that help people, without queries of addresses. */
export function shownHeadersOf (headers: IncomingHttpHeaders): Record<string, string> {
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
