import { createHash } from 'node:crypto'
import { isRateLimit } from '../a1111/failures.ts'
import { outputSize } from '../a1111/limits.ts'
import type { GenerationFailure } from '../a1111/types.ts'
import { normaliseWords } from '../servers/suspicions.ts'
import { type Job, type JobAttempt, type JobError, type JobWarning, maxSends } from './job.ts'

/**
 * What of these parameters takes the most memory at once and can be made smaller, as a sentence for whoever sent a
 * job that ran out of it twice.
 */
function memoryAdvice (parameters: Readonly<Record<string, unknown>>): string {
  const batch = Number(parameters.batch_size ?? 1)
  const rounds = Number(parameters.n_iter ?? 1)
  if (batch > 1) return `Try batch_size 1 and n_iter ${batch * rounds}: the same images, generated one after another.`
  if (parameters.enable_hr === true) {
    const scale = Number(parameters.hr_scale ?? 2)
    if (scale > 1.25) return `Try hr_scale ${Math.max(1.25, Math.round(scale * 0.75 * 4) / 4)} instead of ${scale}.`
  }
  const { width, height } = outputSize(parameters)
  const smaller = (side: number) => Math.max(64, Math.floor(side * 0.7 / 64) * 64)
  return `Try ${smaller(width)}x${smaller(height)} instead of ${width}x${height}, about half the pixels.`
}

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
    /** Whether another server is to be tried before this one is again. */
    readonly elsewhere: boolean
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
const maxCrashes = 2
/** How often a server may turn a job away as too many before that counts as an attempt. */
const maxTurnedAway = 10
/** How often a job may be the trial of a server that another job has found broken before that counts as an attempt. */
const maxTrials = 3
const jitter = 0.2

/** What the policy asks of a job, as it was before the generation that failed. */
export type FailedJob = Pick<Job, 'usedAttempts' | 'crashes' | 'attempts' | 'submission'> &
  Partial<Pick<Job, 'sends' | 'deaths' | 'firstRun'>> & {
    /** Whether another job had found the GPU process broken before. */
    readonly foundBroken?: boolean
  }

/**
 * Decides by who is at fault. The request fails at once. A server that does not answer its looks either costs no
 * attempt. What only this request meets at a server that answers, and what may pass, is tried again within the allowed
 * attempts, but not where it would surely end in the same way.
 * @param server alias of the server where it failed
 */
export function decideAfter (
  failure: GenerationFailure, job: FailedJob, server: string, limits: FailureLimits
): FailureDecision {
  const mayBeSent = (job.sends ?? 0) + 1 < maxSends({ deaths: job.deaths ?? 0 }, limits.attempts)
  const fail = (code: string, message: string, elsewhere = false): FailureDecision =>
    ({ kind: 'fail', code, message, elsewhere: elsewhere && mayBeSent })
  const giveBack = {
    kind: 'give-back', usedAttempts: 0, crashes: 0, delayMs: 0, elsewhere: false, remedy: 'none'
  } as const
  const used = job.usedAttempts + 1
  const isLast = used >= limits.attempts || !mayBeSent
  const backoff = (): number => {
    const factor = 1 - jitter + 2 * jitter * limits.random()
    return Math.round(limits.backoffSeconds * 1000 * 2 ** (used - 1) * factor)
  }
  const life = job.attempts.filter(({ run }) => run >= (job.firstRun ?? 1))
  switch (failure.failureClass) {
    case 'request':
      return fail(failure.code, failure.message, failure.code === 'server_capability')
    case 'timeout':
      return fail(failure.code, failure.message)
    case 'cancelled':
    case 'internal':
      return giveBack
    case 'unauthorized':
      return { ...giveBack, remedy: 'wait-for-server' }
    case 'server-down': {
      // It answers its looks, but no generation until it is restarted: whoever is sent meanwhile is a trial.
      if (failure.code === 'cuda_poisoned') {
        const trials = life.filter(({ error }) => error.code === failure.code).length
        if (job.foundBroken === true && trials < maxTrials) {
          return { ...giveBack, elsewhere: true, remedy: 'wait-for-server' }
        }
        if (isLast) return fail(failure.code, failure.message, true)
        return { ...giveBack, usedAttempts: 1, elsewhere: true, remedy: 'wait-for-server' }
      }
      // A slow proxy in front says nothing against the job; a connection that breaks under it, or a server that
      // stands still with it, may.
      const suspicious = failure.code === 'connection_lost' || failure.code === 'stalled'
      const crashes = suspicious && failure.mayBeRunning ? 1 : 0
      if (job.crashes + crashes >= maxCrashes) return quarantined(failure)
      return { ...giveBack, crashes, remedy: 'wait-for-server' }
    }
    case 'out-of-memory': {
      const before = life.some(attempt => attempt.server === server && attempt.error.failureClass === 'out-of-memory')
      if (before) {
        return fail(failure.code, `${server} ran out of memory twice, the second time with its memory freed before. ` +
          memoryAdvice(job.submission.parameters), true)
      }
      if (isLast) return fail(failure.code, `${failure.message} ${memoryAdvice(job.submission.parameters)}`, true)
      return { ...giveBack, usedAttempts: 1, remedy: 'unload-checkpoint' }
    }
    case 'blocked': {
      if (failure.code === 'stalled') {
        if (job.crashes + 1 >= maxCrashes) return quarantined(failure)
        return isLast ? fail(failure.code, failure.message) : { ...giveBack, usedAttempts: 1, crashes: 1 }
      }
      if (isLast || failure.isFinal || isRepeated(failure, life, server)) {
        return fail(failure.code, failure.message, true)
      }
      return { ...giveBack, usedAttempts: 1, delayMs: backoff(), elsewhere: true }
    }
    case 'passing':
    case 'bad-answer':
      // Others used up what the server allows; the next is not sent before that is over.
      if (isRateLimit(failure) && life.filter(({ error }) => error.code === failure.code).length < maxTurnedAway) {
        return giveBack
      }
      if (isLast || failure.isFinal || (isTold(failure) && isRepeated(failure, life))) {
        return fail(failure.code, failure.message)
      }
      return { ...giveBack, usedAttempts: 1, delayMs: backoff() }
  }
}

function quarantined (failure: GenerationFailure): FailureDecision {
  return {
    kind: 'fail',
    code: 'quarantined',
    message: `The server crashed or stalled ${maxCrashes} times while this job ran, so the job is not retried ` +
      `by itself. Last: ${failure.message}`,
    elsewhere: false
  }
}

/** Whether the failure is an answer of the server's, in contrast to one that broke off or a fault of ours. */
function isTold ({ failureClass, code }: GenerationFailure): boolean {
  return failureClass === 'bad-answer' || code === 'server_error'
}

/** Whether an earlier generation of the job ended in the same way, there or, without a server, anywhere. */
function isRepeated (failure: GenerationFailure, before: readonly JobAttempt[], server?: string): boolean {
  const words = normaliseWords(failure.message)
  return before.some(({ server: at, error }) =>
    error.code === failure.code && normaliseWords(error.message) === words && (server ?? at) === at)
}

/**
 * Stands for what was asked and by whom. All jobs of one caller with the same script are one: only their server, not
 * their number, says anything where they fail. Seeds make no difference either.
 */
export function requestSignature ({ keyId, submission }: Pick<Job, 'keyId' | 'submission'>): string {
  const { mode, checkpoint, studio: bots } = submission
  const { seed, subseed, script_name: script, ...parameters } = submission.parameters as Record<string, unknown>
  const asked = typeof script === 'string' && script !== '' ? script.toLowerCase() : { mode, checkpoint, parameters }
  return createHash('sha256').update(JSON.stringify([keyId, bots?.user ?? null, asked])).digest('base64')
}

export const differentResult = 'different_result'

/** What tells differences apart that reading the inventory may explain; of the others once is enough. */
export function inventoryDifference ({ code, message }: JobWarning): string {
  return ['different_checkpoint', 'different_sampler'].includes(code) ? message : code
}

/** For a job that wants exactly what it asked for or nothing. */
export function differenceOf (warnings: readonly JobWarning[]): JobError {
  return {
    code: differentResult, message: warnings.map(({ message }) => message).join(' '), failureClass: 'bad-answer'
  }
}
