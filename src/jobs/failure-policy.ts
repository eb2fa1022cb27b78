import type { GenerationFailure } from '../a1111/types.ts'
import type { Job } from './job.ts'
import { memoryAdvice } from './memory-advice.ts'

/** What happens to a job after a generation that did not end well. */
export type FailureDecision =
  | {
    readonly kind: 'fail'
    readonly code: string
    readonly message: string
    /** Whether another server may do what this one cannot. */
    readonly elsewhere: boolean
  }
  | {
    readonly kind: 'give-back'
    readonly usedAttempts: 0 | 1
    readonly crashes: 0 | 1
    readonly delayMs: number
    /** What to do at the server before the job may run there again. */
    readonly remedy: 'none' | 'wait-for-server' | 'unload-checkpoint'
  }

export interface FailureLimits {
  /** Generations of one job before a passing fault becomes final. */
  readonly attempts: number
  /** Before the second attempt; doubled for each further one. */
  readonly backoffSeconds: number
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** A job under which servers went away this often is not tried again by itself. */
const mostCrashes = 2
const jitter = 0.2

/**
 * Decides by who is at fault: the request fails at once, the server costs no attempt, the rest is tried again.
 * @param server alias of the server where it failed
 */
export function decideAfter (
  failure: GenerationFailure, job: Pick<Job, 'usedAttempts' | 'crashes' | 'attempts' | 'submission'>,
  server: string, limits: FailureLimits
): FailureDecision {
  const fail = (code: string, message: string, elsewhere = false): FailureDecision =>
    ({ kind: 'fail', code, message, elsewhere })
  switch (failure.failureClass) {
    case 'request':
    case 'timeout':
      return fail(failure.code, failure.message)
    case 'cancelled':
    case 'internal':
      return { kind: 'give-back', usedAttempts: 0, crashes: 0, delayMs: 0, remedy: 'none' }
    case 'unauthorized':
      return { kind: 'give-back', usedAttempts: 0, crashes: 0, delayMs: 0, remedy: 'wait-for-server' }
    case 'server-down': {
      // A slow proxy in front says nothing against the job; a connection that breaks under it, or a server that
      // stands still with it, may.
      const suspicious = failure.code === 'connection_lost' || failure.code === 'stalled'
      const crashes = suspicious && failure.mayBeRunning ? 1 : 0
      if (job.crashes + crashes >= mostCrashes) {
        return fail('quarantined', `The server went away ${mostCrashes} times while this job ran, so it is not tried ` +
          `again by itself. Last: ${failure.message}`)
      }
      return { kind: 'give-back', usedAttempts: 0, crashes, delayMs: 0, remedy: 'wait-for-server' }
    }
    case 'out-of-memory': {
      const before = job.attempts.some(attempt =>
        attempt.server === server && attempt.error.failureClass === 'out-of-memory')
      if (before) {
        return fail(failure.code, `${server} ran out of memory twice, the second time with its memory freed before. ` +
          memoryAdvice(job.submission.parameters), true)
      }
      return { kind: 'give-back', usedAttempts: 1, crashes: 0, delayMs: 0, remedy: 'unload-checkpoint' }
    }
    case 'passing':
    case 'bad-answer': {
      const used = job.usedAttempts + 1
      if (used >= limits.attempts) return fail(failure.code, failure.message)
      const factor = 1 - jitter + 2 * jitter * limits.random()
      const delayMs = Math.round(limits.backoffSeconds * 1000 * 2 ** (used - 1) * factor)
      return { kind: 'give-back', usedAttempts: 1, crashes: 0, delayMs, remedy: 'none' }
    }
  }
}
