import type { A1111Client } from '../a1111/client.ts'
import { isRateLimit } from '../a1111/failures.ts'
import { GenerationFailure } from '../a1111/types.ts'
import { withDeadline } from '../lib/deadline.ts'
import { ServiceError } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { storageFaultOf } from '../media/storage-fault.ts'
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
 * The best server that can run a job, except those with these aliases; null if there is no other. `enabled`: includes
 * servers that do not answer now.
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
  readonly telemetry: GenerationTelemetry
  readonly log: Log
}

/** A generation without an answer. */
export interface FailedGeneration {
  readonly claim: RunClaim
  readonly job: Job
  readonly failure: GenerationFailure
  /** Why it was stopped; null if it was not. */
  readonly stopReason: StopReason | null
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  /** Whether the request could have reached the server. */
  readonly wasSent: boolean
}

/** From the end of a break until jobs that failed before it can be sent again, in milliseconds. */
const pauseAfterBreak = 500

/** Sentences, ours and A1111's, which say that the server no longer has a named file. */
const aboutNames = /\bhas no\b|not found|could not find/i

/** Decides after a generation without an answer what happens to the job, its queue and the server. */
export function createRecovery (dependencies: RecoveryDependencies): (failed: FailedGeneration) => Promise<void> {
  const { server, client, monitor, store, otherServer, limits, telemetry, log } = dependencies
  /** The job that found the GPU process broken, until the server shows otherwise. */
  let brokenBy: string | null = null

  /** Whether a job failed because of a GPU process that another job had found broken before. */
  function foundBroken (job: Job, { code }: GenerationFailure): boolean {
    if (code !== 'cuda_poisoned') brokenBy = null
    else if (brokenBy === null || !monitor.onTrial()) brokenBy = job.id
    return brokenBy !== null && brokenBy !== job.id
  }

  async function applyPolicy (
    { claim, job: before, failure, wasSent }: FailedGeneration, attempts: readonly JobAttempt[]
  ): Promise<void> {
    // A request that never reached the server is no generation, and does not count as one.
    const job = {
      ...before, sends: wasSent ? before.sends : before.sends - 1, foundBroken: foundBroken(before, failure)
    }
    const weighed = failure.code === 'server_error' ? await weigh(job, failure) : await blame(failure)
    const disposition = job.foundBroken ? 'gone' : dispositionOf(failure, wasSent)
    const decision = decideAfter(weighed, job, server().alias, limits)
    if (failure.code === 'cuda_poisoned' || failure.code === 'stalled') await monitor.report(failure)
    if (failure.failureClass === 'request' && aboutNames.test(failure.message)) monitor.differs([failure.message])
    if (decision.elsewhere && job.target === '') {
      const except = new Set([server().alias, ...attempts.map(attempt => attempt.server)])
      const isFinal = decision.kind === 'fail'
      const which = isFinal ? 'enabled' : 'answering'
      const { submission, fixedCheckpoint } = job
      // One with the checkpoint that it began with, if there is one.
      const asBegun = { ...submission, checkpoint: submission.checkpoint ?? fixedCheckpoint }
      const same = await otherServer(asBegun, except, which)
      const next = same ?? await otherServer(submission, except, which)
      const elsewhere = isFinal ? 'only' : 'first'
      const checkpoint = same === null ? 'free' : 'kept'
      if (next !== null) return await leaveTo(next, claim, job, { attempts, disposition, elsewhere, checkpoint })
    }
    if (decision.kind === 'fail') {
      const { code, message } = decision
      const status = await store.end(claim, 'failed', {
        error: describedFailure(failure, code, message), attempts
      })
      if (status !== null) telemetry.ended(job, { status, code, images: 0, took: null })
      return
    }
    const { usedAttempts, crashes, remedy } = decision
    // Another job should be the trial after a break.
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
    if (outcome === 'spent') telemetry.ended(job, { status: 'failed', code: failure.code, images: 0, took: null })
    // the generation of another process there now needs its checkpoint
    if (remedy === 'unload-checkpoint' && outcome === 'returned') await client.unloadCheckpoint().catch(() => undefined)
  }

  /** Finds the cause of a failure that a server which is still starting also shows. */
  async function blame (failure: GenerationFailure): Promise<GenerationFailure> {
    const isOfStart = failure.failureClass === 'request' && mayBeOfStart(failure.message) && await monitor.stillStarts(failure)
    if (!isOfStart) return failure
    return new GenerationFailure('server-down', 'server_starting', failure.message, { cause: failure })
  }

  /** An error that this same request met here before, in this job or another, is the request's fault. */
  async function weigh (job: Job, failure: GenerationFailure): Promise<GenerationFailure> {
    if (await monitor.suspect(failure, requestSignature(job)) !== 'known') return failure
    return new GenerationFailure('passing', failure.code, failure.message, { cause: failure, isFinal: true })
  }

  /** Leaves the job to servers where it has not failed yet. */
  async function leaveTo (
    next: Server, claim: RunClaim, job: Job,
    { attempts, ...how }: Required<Pick<GiveBack, 'attempts' | 'disposition' | 'elsewhere' | 'checkpoint'>>
  ): Promise<void> {
    const outcome = await store.giveBack(claim, {
      attempts: attempts.slice(-1),
      usedAttempts: 0,
      crashes: 0,
      delayMs: 0,
      maxAttempts: limits.attempts,
      ...how
    })
    if (outcome !== 'returned') return
    log.info({ ...telemetry.about(job), to: next.alias }, 'the job goes to another server')
  }

  return async failed => {
    const { claim, job, failure, stopReason, startedAt } = failed
    const described = describedFailure(failure, failure.code, failure.message)
    const attempt: JobAttempt = {
      run: claim.run, server: server().alias, startedAt, endedAt: Date.now(), error: described
    }
    const attempts = [...job.attempts, attempt]
    telemetry.failed(job, failure, stopReason)
    if (stopReason === 'cancel') {
      if (await store.end(claim, 'cancelled', { attempts }) !== null) {
        telemetry.ended(job, { status: 'cancelled', code: '', images: 0, took: null })
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

/** The state of the server: it has died only if it does not answer probes either. */
function dispositionOf (failure: GenerationFailure, wasSent: boolean): GiveBack['disposition'] {
  const { failureClass, code } = failure
  if (!wasSent || isRateLimit(failure)) return 'unsent'
  const isGone = failureClass === 'unauthorized' || (failureClass === 'server-down' && code !== 'cuda_poisoned')
  return isGone ? 'gone' : 'answers'
}

/** Our own fault, such as a full disk, is no fault of the job; a fault of the request stays. */
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

/** Handles generations whose answers are no longer awaited but that can still run at the server. */
export interface OrphanKeeper {
  /** Stops one, or waits until it is over, so that it does not run twice at once. */
  stopOrphan (jobId: string, orphan: Omit<Orphan, 'mark'>, until: AbortSignal): Promise<void>
  /**
   * Does the same for the job's previous generation before the job is sent again, if that can still run.
   * @param sentAt milliseconds since the epoch, if it can have been sent just now
   */
  stopFormer (jobId: string, until: AbortSignal, sentAt?: number): Promise<void>
  /** A generation is sent; `mark` identifies it, null while that is unknown. Returns at once. */
  keepMark (jobId: string, mark: string | null): void
  /** The server is free of it. Returns at once. */
  dropMark (jobId: string): void
}

export interface OrphanKeeperDependencies {
  readonly server: () => Server
  readonly tasks: TaskKnowledge
  readonly control: TaskControl
  readonly marks: GenerationMarks
  /** Aborted when this process stops serving the server. */
  readonly leaving: AbortSignal
  /** Milliseconds that one generation can take. */
  readonly deadlineMs: () => number
  readonly log: Log
}

/** How long an abandoned generation can occupy the server before the next is sent anyway, in ms. */
const orphanWait = 120_000

export function createOrphanKeeper (dependencies: OrphanKeeperDependencies): OrphanKeeper {
  const { server, tasks, control, marks, leaving, deadlineMs, log } = dependencies
  /** Jobs that can have a mark. */
  const marked = new Set<string>()

  async function stop (jobId: string, orphan: Orphan, until: AbortSignal): Promise<void> {
    // If tasks cannot be told apart, only waiting prevents a generation from running twice.
    const wait = tasks.distinguishesTasks() ? orphanWait : Math.max(orphanWait, deadlineMs())
    await withDeadline(wait, [leaving, until], async signal => {
      await stopOrphanedTask(control, jobId, orphan, signal)
      if (!signal.aborted) removeMark(jobId)
    }).catch(error => {
      log.debug({ job: jobId, server: server().alias, err: error }, 'the server does not report its running task')
    })
  }

  async function findMark (jobId: string): Promise<string | null | undefined> {
    const mark = await marks.find(server().id, jobId).catch(() => null)
    if (mark !== undefined) marked.add(jobId)
    return mark
  }

  function removeMark (jobId: string): void {
    marked.delete(jobId)
    note(marks.remove(server().id, jobId), jobId)
  }

  function note (work: Promise<void>, jobId: string): void {
    work.catch(error => { log.debug({ job: jobId, err: error }, 'what it is recognised by could not be noted') })
  }

  return {
    async stopOrphan (jobId, orphan, until) {
      const mark = await findMark(jobId)
      await stop(jobId, { ...orphan, mark: mark ?? null }, until)
    },
    async stopFormer (jobId, until, sentAt = 0) {
      const mark = await findMark(jobId)
      // It was answered: the current work of a server without tasks is another's. Only one that was sent just now can
      // have lost its mark with its process.
      if (mark === undefined && sentAt === 0 && !tasks.distinguishesTasks()) return
      await stop(jobId, { sentAt, answer: 'unknown', mark: mark ?? null }, until)
    },
    keepMark (jobId, mark) {
      // A task with a name is recognised by that.
      if (mark === null && tasks.distinguishesTasks()) return
      marked.add(jobId)
      note(marks.write(server().id, jobId, mark), jobId)
    },
    dropMark (jobId) { if (marked.has(jobId)) removeMark(jobId) }
  }
}
