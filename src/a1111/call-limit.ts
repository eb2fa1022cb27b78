import { callCancelled, clientClosed, type CallPhase } from './failures.ts'
import type { GenerationFailure } from './types.ts'

type FailureInPhase = (phase: CallPhase) => GenerationFailure

/** One signal out of a caller's, a time limit and the client's own end, that leaves nothing behind. */
export interface CallLimit {
  readonly signal: AbortSignal
  /** What ended a call that had come so far; null while `signal` has not fired. */
  failure (phase: CallPhase): GenerationFailure | null
  /**
   * The promise, or a rejection as soon as the call has ended. undici heeds a signal only once a connection
   * stands, which at a host that does not answer takes until its own time limit.
   */
  orEnd<Value> (promise: Promise<Value>): Promise<Value>
  /** Removes the timer and every listener. */
  release (): void
}

/**
 * @param timeoutMs milliseconds from now, at most 2^31 - 1
 * @param late what it means when they are over
 * @param closed fires when the client is closed
 * @param cancelled the caller's own signal
 */
export function limitCall (
  timeoutMs: number, late: FailureInPhase, closed: AbortSignal, cancelled: AbortSignal | undefined
): CallLimit {
  // by hand: AbortSignal.any and AbortSignal.timeout keep their sources and timers until they are collected
  const controller = new AbortController()
  const whenEnded = new Promise<never>((_resolve, reject) => {
    controller.signal.addEventListener('abort', () => { reject(controller.signal.reason) }, { once: true })
  })
  whenEnded.catch(() => {}) // a call that ends before anybody waits for it
  let end: FailureInPhase | null = null
  function finish (reason: FailureInPhase): void {
    end ??= reason
    controller.abort()
  }
  const onClosed = () => finish(clientClosed)
  const onCancelled = () => finish(callCancelled)
  const timer = setTimeout(() => finish(late), timeoutMs)
  closed.addEventListener('abort', onClosed)
  cancelled?.addEventListener('abort', onCancelled)
  if (cancelled?.aborted === true) onCancelled()
  if (closed.aborted) onClosed()
  return {
    signal: controller.signal,
    failure: phase => end === null ? null : end(phase),
    orEnd: promise => Promise.race([promise, whenEnded]),
    release () {
      clearTimeout(timer)
      closed.removeEventListener('abort', onClosed)
      cancelled?.removeEventListener('abort', onCancelled)
    }
  }
}
