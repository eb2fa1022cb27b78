import { isMissing } from '../a1111/failures.ts'
import { GenerationFailure, routeOf } from '../a1111/types.ts'
import { createDeadline } from '../lib/deadline.ts'
import type { Workload } from '../servers/cost-model.ts'
import type { ServerMonitor } from '../servers/monitor.ts'
import { outlastTask } from './interrupt.ts'
import type { Job, JobSubmission } from './job.ts'
import type { OpenGeneration } from './open-generation.ts'
import { longestWay, type TaskKnowledge } from './task-knowledge.ts'
import { workloadOf } from './workload.ts'

/** A generation that a proxy in front of its server gave up. */
export interface GivenUp {
  /** When the proxy gave up, counted from sending. */
  readonly seconds: number
  /** How long it really took, if that was observed. */
  readonly needed: number | null
  readonly workload: Workload
}

/**
 * How long the proxy in front of one server waits for an answer, as learned from generations. Kept in the memory of one
 * process: a new process learns it again from two generations, or from one if a thorough check of the server found the
 * limit.
 */
export interface ProxyLimit {
  /** Whether the limit was known before: the proxy gave up after the same time as before. */
  gaveUp (seen: GivenUp): boolean
  /** An answer came through after this many seconds. */
  answered (seconds: number): void
  /** A generation that was given up and needed no more work than this one; null if this one can succeed. */
  against (workload: Workload): GivenUp | null
}

/** Time limits are the same each time, except for the network delay. */
const tolerance = 0.2
const toleranceSeconds = 0.5
/** Milliseconds after the last proof when one generation tests whether the limit was raised. */
const believedFor = 300_000
const maxRemembered = 20

/** The limit that a thorough check found. */
interface CheckedLimit {
  /** Seconds after which a proxy gave up; null if none was seen to. */
  seconds (): number | null
  /** An answer came later than the limit. */
  raised (seconds: number): void
}

const unchecked: CheckedLimit = { seconds: () => null, raised () {} }

export function createProxyLimit (checked = unchecked, now = () => performance.now()): ProxyLimit {
  let seen: GivenUp[] = []
  let isConfirmed = false
  let seenAt = 0

  return {
    gaveUp (one) {
      const isAsBefore = isSame(seen.at(-1)?.seconds ?? null, one.seconds)
      seen = isAsBefore ? [...seen, one].slice(-maxRemembered) : [one]
      isConfirmed = isAsBefore || isSame(checked.seconds(), one.seconds)
      seenAt = now()
      return isConfirmed
    },
    answered (seconds) {
      const limit = checked.seconds()
      if (limit !== null && seconds > limit) checked.raised(seconds)
      const last = seen.at(-1)
      if (last === undefined || seconds <= last.seconds) return
      seen = []
      isConfirmed = false
    },
    against (workload) {
      if (!isConfirmed || now() - seenAt > believedFor) return null
      return seen.find(one => one.workload.evaluations <= workload.evaluations &&
        one.workload.megapixels <= workload.megapixels) ?? null
    }
  }
}

function isSame (limit: number | null, seconds: number): boolean {
  return limit !== null && Math.abs(limit - seconds) <= Math.max(limit * tolerance, toleranceSeconds)
}

/** A generation whose call has failed without a request to stop it. */
export interface FailedCall {
  readonly job: Job
  readonly failure: GenerationFailure
  readonly generation: OpenGeneration
  /** Seconds from sending it to the failure, and how many more it can take; null if it was not sent. */
  readonly times: { readonly taken: number, readonly left: number } | null
}

export interface Judge {
  /**
   * The failure after a probe of the server. If a server answers its probes but not this request, the request is
   * blocked there (`blocked`): by a proxy's time limit, a firewall or a missing route. A generation that continues
   * without its connection is awaited, which also measures how long it takes.
   */
  judge (failed: FailedCall): Promise<GenerationFailure>
  /**
   * Why a job is not worth sending; null if it is. A retried job is, as the limit could have been raised.
   */
  foresee (job: Pick<Job, 'submission' | 'firstRun'>): GenerationFailure | null
  /** An answer came after this many seconds. */
  answered (seconds: number): void
}

export interface JudgeDependencies {
  readonly alias: () => string
  readonly tasks: Pick<TaskKnowledge, 'progress'>
  readonly monitor: ServerMonitor
  /** Seconds from sending a generation to its end. */
  readonly onMeasured: (submission: JobSubmission, seconds: number) => void
  readonly checkedLimit: CheckedLimit
}

/** A generation that finishes within this many seconds of its broken answer was over when the answer was sent. */
const soonOver = 1
/** No proxy has a time limit below this, in seconds; a busy machine takes much of it for any answer. */
const soonGivenUp = 1

/** Finds the cause of a failure. */
export function createJudge ({ alias, tasks, monitor, onMeasured, checkedLimit }: JudgeDependencies): Judge {
  const proxyLimit = createProxyLimit(checkedLimit)

  function tooLong (seconds: number, needed: number | null, isFinal: boolean): GenerationFailure {
    const need = needed === null ? 'longer' : `about ${inWords(needed)}`
    return new GenerationFailure('blocked', 'bad_gateway', `A proxy in front of ${alias()} gives up after ` +
      `${inWords(seconds)}; this generation needs ${need}. Raise proxy_read_timeout, or register the server's own address.`,
    { isFinal })
  }

  /** The seconds that it took, or null if it was not there; otherwise the reason why that is unknown. */
  async function outlast ({ job, failure, generation, times }: FailedCall): Promise<number | null | GenerationFailure> {
    if (times === null) return null
    const begin = performance.now()
    const deadline = createDeadline(times.left * 1000, generation.hungUp)
    const arrivesIn = failure.mayBeRunning ? longestWay - times.taken * 1000 : 0
    const how = { isOurs: generation.isOurs, arrivesIn }
    const look = async () => await outlastTask(tasks, job.id, how, deadline.signal)
    try {
      // One failed probe is no outage.
      const wasThere = await look().catch(async (error: unknown) => {
        if (isGone(error) && await monitor.stillAnswers(error, generation.stopped)) return await look()
        throw error
      })
      if (deadline.expired()) {
        return new GenerationFailure('timeout', 'deadline_passed', 'The server did not finish the generation in time.',
          { mayBeRunning: true })
      }
      const why = generation.hungUpFor()
      if (why instanceof GenerationFailure) return why
      const seconds = times.taken + (performance.now() - begin) / 1000
      if (!wasThere || generation.hungUp.aborted || generation.stopReason() !== null) return null
      onMeasured(job.submission, seconds)
      return seconds
    } catch (error) {
      if (isGone(error)) return error
      if (error instanceof GenerationFailure) return null // it does not report its tasks
      throw error
    } finally {
      deadline.clear()
    }
  }

  async function judge (failed: FailedCall): Promise<GenerationFailure> {
    const { job, failure, generation, times } = failed
    if (!isDoubtful(failure) || !await monitor.stillAnswers(failure, generation.stopped)) return failure
    const { code } = failure
    // It was not sent, as the server could have been starting; that is over.
    if (code === 'server_starting') return failure
    if (code === 'route_missing' || code === 'method_not_allowed') {
      const route = routeOf(job.submission.mode)
      await monitor.lacks(route)
      return new GenerationFailure('blocked', 'server_capability', `${alias()} does not offer ${route}: ${failure.message}`,
        { cause: failure, isFinal: true })
    }
    if (code === 'stalled') return blocked(failure, failure.message)
    const needed = await outlast(failed)
    if (needed instanceof GenerationFailure) {
      // It stalled, timed out or died behind the proxy.
      if (needed.code === 'stalled') return blocked(needed, needed.message)
      return isGone(needed) ? diedOf(failure) : needed
    }
    if (generation.stopReason() !== null || generation.hungUp.aborted || times === null) return failure
    // Usually the generation is over by then; only a proxy begins an answer earlier.
    if (code === 'truncated_answer' && (needed === null || needed - times.taken < soonOver)) return failure
    // A very quick restart, or a firewall that cuts some connections: no reason to stop other jobs.
    if (needed === null && code === 'connection_lost') {
      monitor.reload()
      return blocked(failure, `${failure.message} ${alias()} answers other requests: either it was just restarted, or ` +
        "something in front of it cuts this connection. Look at its log, or register the server's own address.")
    }
    if (needed === null && (!failure.mayBeRunning || times.taken < soonGivenUp)) return inPlace(failure)
    const workload = workloadOf(job.submission)
    return tooLong(times.taken, needed, proxyLimit.gaveUp({ seconds: times.taken, needed, workload }))
  }

  /** The failure of a generation that something other than the server answered. */
  function inPlace (failure: GenerationFailure): GenerationFailure {
    return blocked(failure, failure.failureClass === 'unauthorized'
      ? `Something in front of ${alias()} rejects this request, although others get through: possibly a firewall objects to ` +
        "its text. Except generations from its rules, or register the server's own address."
      : `${failure.message} Other requests get through to ${alias()}.`)
  }

  return {
    judge,
    foresee ({ submission, firstRun }) {
      const known = firstRun > 1 ? null : proxyLimit.against(workloadOf(submission))
      return known === null ? null : tooLong(known.seconds, known.needed, true)
    },
    answered: proxyLimit.answered
  }
}

/** Whether a proxy in front of the server could have caused the failure as well as the server itself. */
function isDoubtful ({ failureClass, code }: GenerationFailure): boolean {
  return failureClass === 'unauthorized' || code === 'truncated_answer' ||
    (failureClass === 'server-down' && code !== 'cuda_poisoned')
}

/** The failure of a call whose server died during the generation that continued without it. */
function diedOf (failure: GenerationFailure): GenerationFailure {
  if (failure.code === 'connection_lost') return failure
  return new GenerationFailure('server-down', 'connection_lost', 'The server went away while it generated.',
    { cause: failure, mayBeRunning: true })
}

/** Whether a small call found no server. */
function isGone (error: unknown): error is GenerationFailure {
  return error instanceof GenerationFailure && error.failureClass === 'server-down' && error.code !== 'stalled' &&
    error.code !== 'bad_gateway' && !isMissing(error)
}

function blocked (failure: GenerationFailure, message: string): GenerationFailure {
  const { mayBeRunning, isFinal } = failure
  const code = failure.failureClass === 'unauthorized' ? 'forbidden' : failure.code
  return new GenerationFailure('blocked', code, message, { cause: failure, mayBeRunning, isFinal })
}

function inWords (seconds: number): string {
  return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`
}
