import { callCancelled, clientClosed, type CallPhase } from './failures.ts'
import type { GenerationFailure } from './types.ts'

type FailureInPhase = (phase: CallPhase) => GenerationFailure

/** One signal out of a caller's, a time limit and the client's own end, that leaves nothing behind. */
export interface CallLimit {
  readonly signal: AbortSignal
  /** What ended a call that had come so far; null while `signal` has not fired. */
  failure (phase: CallPhase): GenerationFailure | null
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
    release () {
      clearTimeout(timer)
      closed.removeEventListener('abort', onClosed)
      cancelled?.removeEventListener('abort', onCancelled)
    }
  }
}
