import type { A1111Client } from '../a1111/client.ts'
import { isRateLimit } from '../a1111/failures.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { withDeadline } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { storageFaultOf } from '../media/storage.ts'
import { redisProblemOf } from '../redis/errors.ts'
import { mayBeOfStart } from '../servers/fresh-lists.ts'
import type { ServerMonitor } from '../servers/monitor.ts'
import type { Server } from '../servers/registry.ts'
import type { GenerationMarks } from '../servers/state-store.ts'
import { decideAfter, type FailureLimits, requestSignature } from './failure-policy.ts'
import type { GenerationTelemetry } from './generation-telemetry.ts'
import { type Orphan, stopOrphanedTask, type TaskControl } from './interrupt.ts'
import type { Job, JobAttempt, JobError, JobSubmission } from './job.ts'
import type { StopReason } from './open-generation.ts'
import type { GiveBack, JobStore, RunClaim } from './store.ts'
import type { TaskKnowledge } from './task-knowledge.ts'

/**
 * The best server that can do what a job asks for, without those of these aliases; null where there is no other.
 * `enabled`: also one that does not answer now.
 */
export type OtherServer = (
  submission: JobSubmission, except: ReadonlySet<string>, which: 'answering' | 'enabled'
) => Promise<Server | null>

export interface RecoveryDependencies {
  readonly server: () => Server
  readonly client: A1111Client
  readonly monitor: ServerMonitor
  readonly store: JobStore
  readonly otherServer: OtherServer
  readonly limits: FailureLimits
  readonly teller: GenerationTelemetry
  readonly log: Log
}

/** A generation that brought no answer. */
export interface FailedGeneration {
  readonly claim: RunClaim
  readonly job: Job
  readonly failure: GenerationFailure
  /** Why it was to stop; null where nobody wanted that. */
  readonly stopReason: StopReason | null
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Whether the request may have got to the server. */
  readonly wasSent: boolean
}

/** Time for a job to move to another server before this one would fetch it again, in milliseconds. */
const moveWithin = 60_000

/** From the end of a break until what was failing before it may be sent again, in milliseconds. */
const pauseAfterBreak = 500

/** Sentences, ours and A1111's, that say that the server has not got something any more. */
const aboutNames = /\bhas no\b|not found|could not find/i

/** Decides after a generation that brought no answer what becomes of the job, its line and the server. */
export function createRecovery (dependencies: RecoveryDependencies): (failed: FailedGeneration) => Promise<void> {
  const { server, client, monitor, store, otherServer, limits, teller, log } = dependencies
  /** The job that found the GPU process broken, for as long as nothing else is seen of the server. */
  let brokenBy: string | null = null

  /** Whether a broken GPU process failed a job that another job had found broken before. */
  function foundBroken (job: Job, { code }: GenerationFailure): boolean {
    if (code !== 'cuda_poisoned') brokenBy = null
    else if (brokenBy === null || !monitor.onTrial()) brokenBy = job.id
    return brokenBy !== null && brokenBy !== job.id
  }

  async function applyPolicy (
    { claim, job: before, failure, wasSent }: FailedGeneration, attempts: readonly JobAttempt[]
  ): Promise<void> {
    // What never got there is no generation, and is not counted as one.
    const job = {
      ...before, sends: wasSent ? before.sends : before.sends - 1, foundBroken: foundBroken(before, failure)
    }
    const weighed = failure.code === 'server_error' ? await weigh(job, failure) : await blame(failure)
    const disposition = job.foundBroken ? 'gone' : dispositionOf(failure, wasSent)
    const decision = decideAfter(weighed, job, server().alias, limits)
    if (failure.code === 'cuda_poisoned' || failure.code === 'stalled') await monitor.report(failure)
    if (failure.failureClass === 'request' && aboutNames.test(failure.message)) monitor.differs([failure.message])
    if (decision.elsewhere && job.submission.anyServer) {
      const except = new Set([server().alias, ...attempts.map(attempt => attempt.server)])
      const next = await otherServer(job.submission, except, decision.kind === 'fail' ? 'enabled' : 'answering')
      if (next !== null) return await goTo(next, claim, job, { attempts, disposition })
    }
    if (decision.kind === 'fail') {
      const { code, message } = decision
      const status = await store.end(claim, 'failed', {
        error: describedFailure(failure, code, message), attempts
      })
      if (status !== null) teller.ended(job, { status, code, images: 0, took: null })
      return
    }
    const { usedAttempts, crashes, remedy } = decision
    // The trial after a break is to be another job.
    const delayMs = weighed.failureClass === 'passing' && monitor.onTrial()
      ? Math.max(decision.delayMs, monitor.breakMs() + pauseAfterBreak)
      : decision.delayMs
    const outcome = await store.giveBack(claim, {
      attempts: attempts.slice(-1),
      usedAttempts,
      crashes,
      delayMs,
      disposition,
      maxAttempts: limits.attempts
    })
    if (outcome === 'spent') teller.ended(job, { status: 'failed', code: failure.code, images: 0, took: null })
    // what another process runs there by now needs its checkpoint
    if (remedy === 'unload-checkpoint' && outcome === 'returned') await client.unloadCheckpoint().catch(() => undefined)
  }

  /** Whose fault it is where a server whose start is not over fails in the same way. */
  async function blame (failure: GenerationFailure): Promise<GenerationFailure> {
    const isOfStart = failure.failureClass === 'request' && mayBeOfStart(failure.message) && await monitor.stillStarts(failure)
    if (!isOfStart) return failure
    return new GenerationFailure('server-down', 'server_starting', failure.message, { cause: failure })
  }

  /** An error that this very request met here before, in this job or another, is the request's. */
  async function weigh (job: Job, failure: GenerationFailure): Promise<GenerationFailure> {
    if (await monitor.suspect(failure, requestSignature(job)) !== 'known') return failure
    return new GenerationFailure('passing', failure.code, failure.message, { cause: failure, isFinal: true })
  }

  /** Hands a job to a server that has not failed it yet. */
  async function goTo (
    next: Server, claim: RunClaim, job: Job,
    { attempts, disposition }: { readonly attempts: readonly JobAttempt[], readonly disposition: GiveBack['disposition'] }
  ): Promise<void> {
    // Kept back, so that this server does not fetch it before it has moved.
    const outcome = await store.giveBack(claim, {
      attempts: attempts.slice(-1),
      usedAttempts: 0,
      crashes: 0,
      delayMs: moveWithin,
      disposition,
      maxAttempts: limits.attempts
    })
    if (outcome !== 'returned') return
    await store.move(job.id, next.id)
    log.info({ ...teller.about(job), to: next.alias }, 'the job moves to another server')
  }

  return async failed => {
    const { claim, job, failure, stopReason, startedAt } = failed
    const described = describedFailure(failure, failure.code, failure.message)
    const attempt: JobAttempt = {
      run: claim.run, server: server().alias, startedAt, endedAt: Date.now(), error: described
    }
    const attempts = [...job.attempts, attempt]
    teller.failed(job, failure, stopReason)
    if (stopReason === 'cancel') {
      if (await store.end(claim, 'cancelled', { attempts }) !== null) {
        teller.ended(job, { status: 'cancelled', code: '', images: 0, took: null })
      }
    } else if (stopReason === 'shutdown') {
      await store.giveBack(claim, {
        attempts: [], usedAttempts: 0, crashes: 0, delayMs: 0, disposition: 'stopped', maxAttempts: limits.attempts
      })
    } else {
      await applyPolicy(failed, attempts)
    }
  }
}

function describedFailure ({ failureClass, answer }: GenerationFailure, code: string, message: string): JobError {
  return { code, message, failureClass, ...(answer === null ? {} : { answer }) }
}

/** What became of the server: only one that is out of reach by its looks as well has died. */
function dispositionOf (failure: GenerationFailure, wasSent: boolean): GiveBack['disposition'] {
  const { failureClass, code } = failure
  if (!wasSent || isRateLimit(failure)) return 'unsent'
  const isGone = failureClass === 'unauthorized' || (failureClass === 'server-down' && code !== 'cuda_poisoned')
  return isGone ? 'gone' : 'answers'
}

/** A fault of ours, such as a full disk, is no fault of the job; one of the request stays. */
export function asFailure (error: unknown, otherwise: string): GenerationFailure {
  if (error instanceof GenerationFailure) return error
  const redis = redisProblemOf(error)
  if (redis !== null) {
    return new GenerationFailure('internal', 'database_unavailable', `${otherwise} Reason: ${redis.reason}.`, { cause: error })
  }
  const fault = storageFaultOf(error)
  if (fault !== null) {
    return new GenerationFailure('internal', 'storage_full', `${otherwise} Reason: ${fault.reason} (${fault.errno}).`, { cause: error })
  }
  if (!(error instanceof ServiceError)) {
    return new GenerationFailure('passing', 'internal_server_error', otherwise, { cause: error })
  }
  return new GenerationFailure(error.status < 500 ? 'request' : 'passing', error.code, error.message, { cause: error })
}

/** Sees to generations that nobody waits for any more but that may still run at the server. */
export interface OrphanKeeper {
  /** Stops one, or waits until it is over, so that it is not doubled beside itself. */
  stopOrphan (jobId: string, orphan: Omit<Orphan, 'mark'>, until: AbortSignal): Promise<void>
  /** Before a job is sent once more: the same for what is left of the time before, if anything may be. */
  stopFormer (jobId: string, until: AbortSignal): Promise<void>
  /** A generation goes out; `mark` is what it is recognised by, null as long as that is not known. Returns at once. */
  keepMark (jobId: string, mark: string | null): void
  /** Nothing of it is at the server. Returns at once. */
  dropMark (jobId: string): void
}

export interface OrphanKeeperDependencies {
  readonly server: () => Server
  readonly tasks: TaskKnowledge
  readonly control: TaskControl
  readonly marks: GenerationMarks
  /** Aborted when this process lets go of the server. */
  readonly leaving: AbortSignal
  /** Milliseconds that one generation may take. */
  readonly deadlineMs: () => number
  readonly log: Log
}

/** How long a generation that nobody waits for may hold the server before the next is sent all the same, in ms. */
const orphanWait = 120_000

export function createOrphanKeeper (dependencies: OrphanKeeperDependencies): OrphanKeeper {
  const { server, tasks, control, marks, leaving, deadlineMs, log } = dependencies

  async function stop (jobId: string, orphan: Orphan, until: AbortSignal): Promise<void> {
    // Where tasks cannot be told apart, waiting is all that keeps one from being doubled.
    const wait = tasks.tellsApart() ? orphanWait : Math.max(orphanWait, deadlineMs())
    await withDeadline(wait, [leaving, until], async signal => {
      await stopOrphanedTask(control, jobId, orphan, signal)
      if (!signal.aborted) dropMark(jobId)
    }).catch(error => {
      log.debug({ job: jobId, server: server().alias, err: error }, 'the server does not report its running task')
    })
  }

  function dropMark (jobId: string): void {
    note(marks.remove(server().id, jobId), jobId)
  }

  function note (work: Promise<void>, jobId: string): void {
    work.catch(error => { log.debug({ job: jobId, err: error }, 'what it is recognised by could not be noted') })
  }

  return {
    async stopOrphan (jobId, orphan, until) {
      const mark = await marks.find(server().id, jobId).catch(() => null)
      await stop(jobId, { ...orphan, mark: mark ?? null }, until)
    },
    async stopFormer (jobId, until) {
      const mark = await marks.find(server().id, jobId).catch(() => null)
      // It was answered: what a server without tasks does now is another's.
      if (mark === undefined && !tasks.tellsApart()) return
      await stop(jobId, { answer: 'unknown', mark: mark ?? null }, until)
    },
    keepMark (jobId, mark) { note(marks.write(server().id, jobId, mark), jobId) },
    dropMark
  }
}
