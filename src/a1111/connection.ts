import { startTimer } from '../lib/deadline.ts'
import type { HttpAnswer, HttpClient, HttpRequest } from '../lib/http/client.ts'
import type { Destination } from '../lib/http/connect.ts'
import { withoutTrailing } from '../lib/text.ts'
import { callCancelled, type CallPhase, clientClosed } from './failures.ts'
import type { GenerationFailure, ServerAddress } from './types.ts'

/** A server's address as requests need it. */
export interface Endpoint {
  /** The address of one of A1111's own paths, which begin with a slash, on the server. */
  readonly urlOf: (path: string) => URL
  /** Sent with every request. */
  readonly headers: Readonly<Record<string, string>>
}

/** Throws a TypeError if `baseUrl` is not a URL. */
export function endpointOf ({ baseUrl, username, password, bearer, headers: own }: ServerAddress): Endpoint {
  const url = new URL(baseUrl)
  const base = `${url.origin}${withoutTrailing(url.pathname, '/')}`
  const headers: Record<string, string> = {
    ...own,
    accept: 'application/json'
  }
  if (username !== undefined) {
    headers.authorization = `Basic ${Buffer.from(`${username}:${password ?? ''}`).toString('base64')}`
  }
  if (bearer !== undefined) headers.authorization = `Bearer ${bearer}`
  // put together as text: a path that begins with two slashes must not lead to another host
  return { urlOf: path => new URL(`${base}${path}`), headers }
}

type FailureInPhase = (phase: CallPhase) => GenerationFailure

/** Joins a caller's signal, a time limit and the closing of the client in one signal, without leaks. */
export interface CallLimit {
  readonly signal: AbortSignal
  /** The reason why a call ended in this phase; null while `signal` has not fired. */
  failure (phase: CallPhase): GenerationFailure | null
  /** Removes the timer and every listener. */
  release (): void
}

/**
 * @param timeoutMs milliseconds from now
 * @param late the failure once they are over
 * @param closed fires when the client is closed
 * @param cancelled the caller's own signal
 */
export function limitCall (
  timeoutMs: number, late: FailureInPhase, closed: AbortSignal, cancelled: AbortSignal | undefined
): CallLimit {
  // by hand: AbortSignal.any and AbortSignal.timeout keep their sources and timers until they are collected
  const controller = new AbortController()
  let end: FailureInPhase | null = null
  function finish (reason: FailureInPhase): void {
    end ??= reason
    controller.abort()
  }
  const onClosed = () => finish(clientClosed)
  const onCancelled = () => finish(callCancelled)
  const stopTimer = startTimer(timeoutMs, () => finish(late))
  closed.addEventListener('abort', onClosed)
  cancelled?.addEventListener('abort', onCancelled)
  if (cancelled?.aborted === true) onCancelled()
  if (closed.aborted) onClosed()
  return {
    signal: controller.signal,
    failure: phase => end === null ? null : end(phase),
    release () {
      stopTimer()
      closed.removeEventListener('abort', onClosed)
      cancelled?.removeEventListener('abort', onCancelled)
    }
  }
}

/** Blocks requests to servers that are unreachable or starting: a request can crash an A1111 that is starting. */
export interface StartGuard {
  /**
   * Resolves when a request can be sent; the caller must report its outcome.
   * @throws GenerationFailure with the reason why none can be sent, and the time after which to retry
   */
  enter (request: Pick<HttpRequest, 'url' | 'method' | 'signal'>): Promise<Visit>
  /** Called before each connection, since a request can have waited after it was admitted. @throws as `enter` */
  admit (destination: Destination): void
}

/** One admitted request. */
export interface Visit {
  answered (status: number): Promise<void>
  /** No answer came, or it was cut off. */
  failed (error: unknown): Promise<void>
  /** Ended by ourselves. */
  left (): void
}

/** The same client, with each request admitted by the guard. */
export function guardedHttp (http: HttpClient, guard: StartGuard | undefined): HttpClient {
  if (guard === undefined) return http
  return {
    close: http.close,
    prepare: http.prepare,
    async request (request, onConnected) {
      const visit = await guard.enter(request)
      let answer: HttpAnswer
      try {
        answer = await http.request(request, onConnected)
      } catch (error) {
        if (request.signal.aborted) visit.left()
        else await visit.failed(error)
        throw error
      }
      await visit.answered(answer.statusCode)
      answer.body.once('error', error => {
        if (!request.signal.aborted && !isLeftUnread(error)) visit.failed(error).catch(() => undefined)
      })
      return answer
    }
  }
}

/** We abort an answer that is not worth reading to its end, such as a web page: the server is well. */
function isLeftUnread (error: Error): boolean {
  return ['ABORT_ERR', 'UND_ERR_ABORTED'].includes(String((error as NodeJS.ErrnoException).code))
}
