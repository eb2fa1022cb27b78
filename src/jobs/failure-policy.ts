import { createHash } from 'node:crypto'
import { isRateLimit } from '../a1111/failures.ts'
import { outputSize } from '../a1111/limits.ts'
import type { GenerationFailure } from '../a1111/types.ts'
import type { ErrorCode } from '../lib/errors.ts'
import { normaliseWords } from '../servers/suspicions.ts'
import { type Job, type JobAttempt, type JobError, type JobWarning, maxSends } from './job.ts'

/**
 * The parameter that takes the most memory and can be reduced, as a sentence for the client whose job ran out of memory
 * twice.
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

/** What happens to a job after a generation that failed. */
export type FailureDecision =
  | {
    readonly kind: 'fail'
    readonly code: string
    readonly message: string
    /** Whether another server could do what this one cannot. */
    readonly elsewhere: boolean
  }
  | {
    readonly kind: 'give-back'
    readonly usedAttempts: 0 | 1
    readonly crashes: 0 | 1
    readonly delayMs: number
    /** Whether to try another server before this one again. */
    readonly elsewhere: boolean
    /** What to do at the server before the job can run there again. */
    readonly remedy: 'none' | 'wait-for-server' | 'unload-checkpoint'
  }

export interface FailureLimits {
  /** Generations of one job before a temporary fault becomes final. */
  readonly attempts: number
  /** Wait before the second attempt; doubled for each further one. */
  readonly backoffSeconds: number
  /** Uniform in [0, 1). */
  readonly random: () => number
}

/** Codes of requests that another server can accept: it can have what this one lacks. */
const ofServer: ReadonlySet<string> = new Set<ErrorCode>([
  'server_capability', 'checkpoint_not_found', 'sampler_not_found', 'scheduler_not_found', 'model_not_found',
  'script_not_found', 'style_not_found'
])

/** A job during which servers went away this often is not retried automatically. */
const maxCrashes = 2
/** How often a server can reject a job as too many requests before that counts as an attempt. */
const maxTurnedAway = 10
/** How often a job can be the trial of a server that another job found broken before that counts as an attempt. */
const maxTrials = 3
const jitter = 0.2

/** The parts of a job that the policy uses, as they were before the failed generation. */
export type FailedJob = Pick<Job, 'usedAttempts' | 'crashes' | 'attempts' | 'submission'> &
  Partial<Pick<Job, 'sends' | 'deaths' | 'firstRun'>> & {
    /** Whether another job found the GPU process broken before. */
    readonly foundBroken?: boolean
  }

/**
 * Decides by the cause of the failure. If the request is at fault, the job fails at once. A server that does not answer
 * its probes either costs no attempt. A failure of only this request at a server that answers, and a temporary failure,
 * is retried within the allowed attempts, unless the same result is certain.
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
      return fail(failure.code, failure.message, ofServer.has(failure.code))
    case 'timeout':
      return fail(failure.code, failure.message)
    case 'cancelled':
    case 'internal':
      return giveBack
    case 'unauthorized':
      return { ...giveBack, remedy: 'wait-for-server' }
    case 'server-down': {
      // It answers its probes, but no generation until it is restarted: each job sent meanwhile is a trial.
      if (failure.code === 'cuda_poisoned') {
        const trials = life.filter(({ error }) => error.code === failure.code).length
        if (job.foundBroken === true && trials < maxTrials) {
          return { ...giveBack, elsewhere: true, remedy: 'wait-for-server' }
        }
        if (isLast) return fail(failure.code, failure.message, true)
        return { ...giveBack, usedAttempts: 1, elsewhere: true, remedy: 'wait-for-server' }
      }
      // A slow proxy in front is no sign against the job; a broken connection or a stalled server can be one.
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
      // Other requests used up the server's rate limit; the next one waits until it is over.
      if (isRateLimit(failure) && life.filter(({ error }) => error.code === failure.code).length < maxTurnedAway) {
        return giveBack
      }
      if (isLast || failure.isFinal || (isReported(failure) && isRepeated(failure, life))) {
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

/** Whether the failure is an answer of the server, in contrast to a broken connection or our own fault. */
function isReported ({ failureClass, code }: GenerationFailure): boolean {
  return failureClass === 'bad-answer' || code === 'server_error'
}

/** Whether an earlier generation of the job failed in the same way, on that server or, without a server, on any. */
function isRepeated (failure: GenerationFailure, before: readonly JobAttempt[], server?: string): boolean {
  const words = normaliseWords(failure.message)
  return before.some(({ server: at, error }) =>
    error.code === failure.code && normaliseWords(error.message) === words && (server ?? at) === at)
}

/**
 * Identifies the request and its client. All jobs of one client with the same script count as one: if they fail, their
 * server is evidence, not their number. Seeds make no difference either.
 */
export function requestSignature ({ keyId, submission }: Pick<Job, 'keyId' | 'submission'>): string {
  const { mode, checkpoint, studio: bots } = submission
  const { seed, subseed, script_name: script, ...parameters } = submission.parameters as Record<string, unknown>
  const asked = typeof script === 'string' && script !== '' ? script.toLowerCase() : { mode, checkpoint, parameters }
  return createHash('sha256').update(JSON.stringify([keyId, bots?.user ?? null, asked])).digest('base64')
}

export const differentResult = 'different_result'

/** A key for differences that a new read of the inventory can explain; for the others one read is enough. */
export function inventoryDifference ({ code, message }: JobWarning): string {
  return ['different_checkpoint', 'different_sampler'].includes(code) ? message : code
}

/** For a job that must get exactly what it asked for. */
export function differenceOf (warnings: readonly JobWarning[]): JobError {
  return {
    code: differentResult, message: warnings.map(({ message }) => message).join(' '), failureClass: 'bad-answer'
  }
}
