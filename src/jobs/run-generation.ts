import { setTimeout as sleep } from 'node:timers/promises'
import { imagesAsked } from '../a1111/check-answer.ts'
import type { A1111Client } from '../a1111/client.ts'
import { isRateLimit, stalled } from '../a1111/failures.ts'
import { rulesOf } from '../a1111/kinds/registry.ts'
import { GenerationFailure } from '../a1111/types.ts'
import type { PreparedConnection } from '../lib/http/connect.ts'
import type { Log } from '../lib/logging.ts'
import type { Semaphore } from '../lib/semaphore.ts'
import { collectWhileWaiting } from '../lib/young-garbage.ts'
import type { StorageCheck } from '../media/storage.ts'
import { storageFaultOf } from '../media/storage-fault.ts'
import type { ServerMonitor } from '../servers/monitor.ts'
import { endOf, type SentOptions } from '../servers/options-access.ts'
import type { OptionsKeeper } from '../servers/options-keeper.ts'
import type { Server } from '../servers/registry.ts'
import type { GenerationMarks } from '../servers/state-store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { traced, type Tracing } from '../telemetry/tracing.ts'
import type { ImageCheck } from './check-images.ts'
import { type CollectImages, createStoring } from './collect-images.ts'
import { createExpectedJob, type ExpectedJob } from './expected-job.ts'
import type { FailureLimits } from './failure-policy.ts'
import { createFinish, type FinishDependencies } from './finish-generation.ts'
import { createGenerationTelemetry } from './generation-telemetry.ts'
import { createTaskControl } from './interrupt.ts'
import type { Job, JobSubmission } from './job.ts'
import type { FailedCall, Judge } from './judge-failure.ts'
import {
  Abandoned, type Beginning, type BeginningParts, createBeginning, createOpenGeneration, type OpenGeneration,
  stillServing
} from './open-generation.ts'
import { createOthers, type PreparableJob, type PreparedGeneration } from './prepare-generation.ts'
import { asFailure, createOrphanKeeper, createRecovery, type OtherServer } from './recover-generation.ts'
import type { PreviewSender } from './send-previews.ts'
import type { Claimer } from './claimer.ts'
import type { Unclaim } from './claims.ts'
import type { JobStore, RunClaim } from './store.ts'
import type { TaskKnowledge } from './task-knowledge.ts'
import { watchProgress } from './watch-progress.ts'

/** The outcome of one queue entry: done, or kept until the server can be used. */
export type RunOutcome = 'done' | 'hold'

export interface GenerationRunner {
  run (entry: { readonly jobId: string, readonly run: number }): Promise<RunOutcome>
  /**
   * Stops generations that an earlier worker can have left at the server, before anything is sent. Call it first.
   * @param possiblySent jobs that it can have sent without a note in their records
   */
  clear (orphans: ReadonlyArray<Pick<Job, 'id' | 'startedAt'>>, possiblySent: readonly string[]): Promise<void>
  /** Gets ready for a job that probably comes at once. */
  readonly expect: ExpectedJob['await']
  /** A client cancels this job; ignored unless it runs here. */
  cancel (jobId: string): void
  /** Returns jobs whose images cannot be stored here to the queue, for another process. */
  giveUpImages (): void
  /** Stops the running jobs and returns them to the queue, for an orderly shutdown. */
  stop (): Promise<void>
  /** Another process serves the server now: stops at once and touches nothing. */
  abandon (): void
}

export interface GenerationRunnerDependencies {
  /** As it is now; alias and timeout can change while jobs run. */
  readonly server: () => Server
  readonly client: A1111Client
  readonly tasks: TaskKnowledge
  readonly marks: GenerationMarks
  readonly monitor: ServerMonitor
  readonly options: OptionsKeeper
  /** Whether jobs can begin now: the server can be used, and no operator has paused it or the whole queue. */
  readonly mayBegin: () => boolean
  /** A generation succeeded; seconds from sending it to its answer. */
  readonly onMeasured: (submission: JobSubmission, seconds: number) => void
  readonly judge: Judge
  readonly previews: PreviewSender
  readonly store: JobStore
  readonly storage: StorageCheck
  readonly collectImages: CollectImages
  readonly checkImages: ImageCheck
  readonly sendSlot: Semaphore
  readonly log: Log
  readonly metrics: Metrics
  readonly tracing: Tracing
  /** Names this process. */
  readonly processId: string
  /** Of its lease of the server. */
  readonly fence: number
  /** Whether this process holds that lease now. @throws Error if Redis does not answer */
  readonly holdsLease: () => Promise<boolean>
  readonly isSure: BeginningParts['isSure']
  readonly prepare: (job: PreparableJob) => Promise<PreparedGeneration>
  readonly otherServer: OtherServer
  readonly claimer: Pick<Claimer, 'record' | 'look' | 'isTaken' | 'isReserved' | 'leave'>
  readonly unclaim: (options: Unclaim) => Promise<unknown>
  /** A generation begins: the server is busy from now on. */
  readonly onBegun: (job: Job) => void
  /** The server is free for the next one. */
  readonly onFree: () => void
  readonly tagOutput: FinishDependencies['tagOutput']
  readonly limits: FailureLimits & {
    readonly jobTimeoutSeconds: number
    readonly maxAnswerBytes: number
    /** How long a running generation can stall; 0 means for ever. */
    readonly stallSeconds: number
  }
}

/** How long ago an earlier worker sent its last request at the least, in milliseconds: its lease was over first. */
const arrived = 1000

/** How long it counts that the server was idle, in milliseconds. */
const lookedFor = 50
class ShuttingDown extends Error {}

/** Runs the jobs of one server, one generation at a time, with the next one prepared and ready to be sent. */
export function createGenerationRunner (dependencies: GenerationRunnerDependencies): GenerationRunner {
  const {
    server, client, tasks, marks, monitor, options, mayBegin, onMeasured, judge: { judge, foresee, answered }, previews,
    store, storage, collectImages, checkImages, sendSlot, processId, fence, holdsLease, isSure, prepare, otherServer,
    tagOutput, claimer, unclaim, onBegun, onFree, limits, log, metrics, tracing
  } = dependencies
  const leaving = new AbortController()
  const telemetry = createGenerationTelemetry({ alias: () => server().alias, log, metrics, tracing })
  const recover = createRecovery({ server, client, monitor, store, otherServer, limits, telemetry, log })
  const finish = createFinish({
    monitor, options, checkImages, tagOutput, leaving: leaving.signal, store, telemetry, log
  })
  const control = createTaskControl({ ...client, progress: tasks.progress }, holdsLease, () => tasks.looks().stopMs)
  const { stopOrphan, stopFormer, keepMark, dropMark } = createOrphanKeeper({
    server, tasks, control, marks, leaving: leaving.signal, deadlineMs, log
  })
  const others = createOthers({ server, store, otherServer, unclaim: async what => await unclaim({ fence, ...what }) })
  const begin = createBeginning({ store, fence, claimer, isSure, log })
  const running = new Map<string, OpenGeneration>()
  const storing = createStoring(leaving.signal)
  const expected = createExpectedJob({ client, prepare, leaving: leaving.signal })
  const settled = new Set<Promise<unknown>>()
  let runs = 0
  /** When the server was done with the last generation, by the monotonic clock; null if it failed. */
  let doneAt: number | null = null
  /** Until when the server wants no requests, by the same clock. */
  let quietUntil = 0

  async function run ({ jobId, run }: { jobId: string, run: number }): Promise<RunOutcome> {
    const job = claimer.record(jobId, run) ?? await store.find(jobId)
    if (job === null || job.run !== run || job.status !== 'pending' || job.serverId !== server().id) return 'done'
    if (!mayBegin()) return 'hold'
    if (monitor.onTrial() && await others.goFirst(job)) return 'done'
    const claim: RunClaim = { id: jobId, run, serverId: server().id, owner: `${processId}:${fence}:${++runs}` }
    // While the generation before it runs; nothing is sent yet.
    const { over, prepared: early } = await expected.take(job)
    try {
      const prepared = early ?? await prepare(job).catch(error => asFailure(error, 'The job could not be prepared.'))
      if (prepared instanceof GenerationFailure && reportOwnFault(prepared)) return 'hold'
      if (prepared instanceof GenerationFailure && await others.take(job, prepared)) return 'done'
      return await passGate(claim, job, prepared, over)
    } finally {
      over.close()
    }
  }

  async function passGate (
    claim: RunClaim, job: Job, prepared: PreparedGeneration | GenerationFailure, over: PreparedConnection
  ): Promise<RunOutcome> {
    const jobId = job.id
    const atGateSince = performance.now()
    let leaveSlot: () => void
    // The last check can be long ago when this job gets the send slot.
    const stopLooking = storage.keepLooking()
    const stopCollecting = collectWhileWaiting()
    try {
      if (await storage.fault() !== null) return 'hold'
      leaveSlot = await sendSlot.enter(leaving.signal)
    } catch {
      return 'hold'
    } finally {
      stopLooking()
      stopCollecting()
    }
    const openGate = once(async () => {
      leaveSlot()
      onFree()
    })
    const onMark = (mark: string) => { keepMark(jobId, mark) }
    const generation = createOpenGeneration(jobId, { client, control, tasks, log, onMark })
    running.set(jobId, generation)
    try {
      const quietMs = quietUntil - performance.now()
      if (quietMs > 0) await sleep(quietMs, undefined, { signal: leaving.signal }).catch(() => {})
      // While the job waited for the send slot, the queue can have stopped, and the job can have been cancelled.
      if (!mayBegin() || leaving.signal.aborted) return 'hold'
      if (claimer.isTaken(jobId, claim.run)) return 'done'
      const { answer, confirmed } = await begin(claim, generation, () => { onBegun(job) })
      if (answer !== 'started') return answer === 'superseded' ? 'done' : 'hold'
      await generate(claim, job, generation, prepared, { openGate, atGateSince, over, confirmed })
      if (!['started', 'superseded'].includes(await confirmed)) return 'hold'
    } finally {
      await generation.close()
      if (running.get(jobId) === generation) running.delete(jobId)
      await openGate()
    }
    return 'done'
  }

  async function generate (
    claim: RunClaim, job: Job, generation: OpenGeneration, prepared: PreparedGeneration | GenerationFailure,
    { openGate, atGateSince, over, confirmed }: Pick<Beginning, 'confirmed'> & {
      readonly openGate: () => Promise<void>
      readonly atGateSince: number
      readonly over: PreparedConnection
    }
  ): Promise<void> {
    const startedAt = Date.now()
    const begunAt = performance.now()
    const span = telemetry.begin(claim, job, startedAt)
    const collector = collectImages(job, startedAt)
    const progress = watchProgress({
      tasks,
      isOurs: generation.isOurs,
      store,
      log,
      claim,
      onCancel: () => { generation.stop('cancel') },
      onSuperseded () {
        // One that never began by its record is stopped instead: the server is still ours.
        confirmed.then(answer => { if (answer === 'started') generation.disconnectSignal(new Abandoned()) })
      },
      stallMs: limits.stallSeconds * 1000,
      onStalled: () => { generation.disconnectSignal(stalled(limits.stallSeconds)) },
      async showPreview () { if (previews.isWatched(job.id)) await previews.send(job, client) }
    })
    let reported = false
    let sentAt: number | null = null
    let wasSent = false
    let sentOptions: SentOptions | null = null
    // Once the server is free of this job, the next is sent, and a cancel must not interrupt that one.
    const leave = once(async () => {
      if (sentAt !== null && generation.stopReason() === null) {
        const seconds = (performance.now() - sentAt) / 1000
        onMeasured(job.submission, seconds)
        answered(seconds)
      }
      const stopReason = generation.stopReason()
      doneAt = performance.now()
      running.delete(job.id)
      progress.stop()
      if (sentOptions !== null) options.over(sentOptions, 'answered')
      await generation.close()
      if (options.hasLeft('between jobs')) await options.putBack(leaving.signal)
      await openGate()
      return stopReason
    })
    try {
      if (prepared instanceof GenerationFailure) throw prepared
      const foreseen = foresee(job)
      if (foreseen !== null) throw foreseen
      // One that was given back without a start can have been sent by a process that lost its lease meanwhile.
      if (job.starts > 0 || job.run > 1) await stopFormer(job.id, generation.stopped)
      const lookedAt = performance.now()
      const looked = Promise.all([
        prepared.wanted === null ? null : options.ready(prepared.wanted, generation.stopped), generation.before()
      ])
      sentOptions = (await looked)[0]
      if (performance.now() - lookedAt > lookedFor) await generation.before()
      await stillServing({ isSure, holdsLease }, generation.stopped)
      const body = prepared.body(sentOptions)
      sentAt = performance.now()
      keepMark(job.id, null)
      const { mode } = job.submission
      const call = { kind: 'client', parent: span.traceparent } as const
      const answer = await traced(tracing, `POST /sdapi/v1/${mode}`, call, () => generation.send(mode, body, {
        deadlineMs: deadlineMs(),
        over,
        maxAnswerBytes: limits.maxAnswerBytes,
        createSink: collector.createSink,
        onUnreadable: collector.lose,
        onSent () {
          wasSent = true
          sentAt = performance.now()
          const idle = idleSince(atGateSince)
          // Log lines come after the request.
          setImmediate(() => { telemetry.sent(claim, job, idle) })
        },
        onAnswering: () => { leave().catch(() => {}) } // waited for below
      }))
      const stopReason = await leave()
      dropMark(job.id)
      if (await confirmed !== 'started') return await collector.discard()
      if (stopReason === 'shutdown') throw new GenerationFailure('cancelled', 'stopped', 'The service stopped.')
      if (answer.imageCount === 0 && stopReason === null) {
        throw new GenerationFailure('bad-answer', 'no_images', rulesOf(monitor.traits()).emptyAnswer)
      }
      const collected = await storing.store(job, stopReason !== null, signal =>
        collector.finish(answer.info, imagesAsked(job.submission.parameters), signal))
      reported = true
      const result = { ...collected, partial: stopReason === 'cancel' }
      await finish({ claim, job, answer, result, options: sentOptions, collector, begunAt })
    } catch (error) {
      doneAt = null
      if (sentOptions !== null && !reported) options.over(sentOptions, endOf(error, wasSent))
      span.fail(error)
      // If it is unknown whether the record names the images already, they stay.
      if (!reported) await collector.discard()
      const taken = sentAt === null ? null : (performance.now() - sentAt) / 1000
      const times = taken === null ? null : { taken, left: Math.max(0, deadlineMs() / 1000 - taken) }
      // Progress of a generation that continues behind a proxy is still reported.
      const failure = await failureOf(error, { job, generation, times }).finally(progress.stop)
      if (failure === null) return
      if (isRateLimit(failure)) quietUntil = performance.now() + failure.retryAfterMs
      // A generation that was given up while its images waited for disk space is stopped like any other.
      const stopReason = generation.stopReason() ?? (leaving.signal.reason instanceof ShuttingDown ? 'shutdown' : null)
      if (await confirmed === 'started') await recover({ claim, job, failure, stopReason, startedAt, wasSent })
      if (!failure.mayBeRunning) dropMark(job.id)
      else if (failure.code !== 'connection_lost') await stopOrphan(job.id, { answer: 'none' }, leaving.signal)
    } finally {
      span.end()
    }
  }

  /** Whether a failure is our own machine's: then nothing is sent until that is fixed. */
  function reportOwnFault (failure: GenerationFailure): boolean {
    if (failure.failureClass !== 'internal') return false
    const fault = storageFaultOf(failure.cause)
    if (fault !== null) storage.report(fault)
    return true
  }

  /** Milliseconds since the server was done with the job before; null if this one was not ready then. */
  function idleSince (atGateSince: number): number | null {
    return doneAt !== null && atGateSince <= doneAt ? performance.now() - doneAt : null
  }

  /** Null if another process has the job now. */
  async function failureOf (
    error: unknown, { job, generation, times }: Omit<FailedCall, 'failure'>
  ): Promise<GenerationFailure | null> {
    const isAbandoned = () => error instanceof Abandoned || generation.hungUpFor() instanceof Abandoned
    if (isAbandoned()) return null
    const hungUpFor = generation.hungUpFor()
    const cause = hungUpFor instanceof GenerationFailure ? hungUpFor : error
    const failure = asFailure(cause, 'The result could not be stored.')
    reportOwnFault(failure)
    if (generation.stopReason() !== null) return failure
    const judged = await judge({ job, failure, generation, times })
    return isAbandoned() ? null : judged
  }

  function deadlineMs (): number {
    return (server().jobTimeoutSeconds ?? limits.jobTimeoutSeconds) * 1000
  }

  /** Counts the work that must be over before the process can stop. */
  async function counted<Outcome> (work: Promise<Outcome>): Promise<Outcome> {
    settled.add(work)
    return await work.finally(() => { settled.delete(work) })
  }

  return {
    run: async entry => await counted(run(entry)).finally(() => {
      if (claimer.leave(entry.jobId, entry.run)) claimer.look()
    }),
    async clear (orphans, possiblySent) {
      const entered = sendSlot.enter(leaving.signal)
      await counted(entered.then(async openGate => {
        for (const { id, startedAt } of orphans) {
          await stopOrphan(id, { answer: 'unknown', sentAt: startedAt ?? 0 }, leaving.signal)
        }
        const sentAt = Date.now() - arrived
        for (const id of possiblySent) await stopFormer(id, leaving.signal, sentAt)
        openGate()
      }))
    },
    cancel (jobId) {
      running.get(jobId)?.stop('cancel')
      storing.cancel(jobId)
    },
    expect: expected.await,
    giveUpImages: storing.giveUp,
    async stop () {
      leaving.abort(new ShuttingDown())
      for (const generation of running.values()) generation.stop('shutdown')
      await Promise.allSettled([...settled])
    },
    abandon () {
      leaving.abort(new Abandoned())
      for (const generation of running.values()) generation.disconnectSignal(new Abandoned())
    }
  }
}

/** The outcome of the first call, for every call. */
function once<Outcome> (work: () => Promise<Outcome>): () => Promise<Outcome> {
  let outcome: Promise<Outcome> | undefined
  return () => {
    outcome ??= work()
    return outcome
  }
}
