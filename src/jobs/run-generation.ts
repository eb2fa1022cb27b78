import type { A1111Client } from '../a1111/client.ts'
import { checkAnswer, imagesAsked } from '../a1111/check-answer.ts'
import { GenerationFailure, type GenerationAnswer } from '../a1111/types.ts'
import { messageOf, ServiceError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { MediaStore } from '../media/store.ts'
import type { ServerMonitor } from '../servers/monitor.ts'
import type { Server } from '../servers/server.ts'
import { createImageCollector, type ImageCollector } from './collect-images.ts'
import { decideAfter, type FailureLimits } from './failure-policy.ts'
import type { Gate } from './gate.ts'
import type { Job, JobAttempt, JobError } from './job.ts'
import type { PreparedGeneration } from './prepare-generation.ts'
import type { JobStore, RunClaim } from './store.ts'
import { stopOpenTask, stopOrphanedTask } from './task-control.ts'
import { watchProgress } from './watch-progress.ts'

/** What became of one queue entry: done with it, or to be kept until the server can be used. */
export type RunOutcome = 'done' | 'hold'

export interface GenerationRunner {
  run (entry: { readonly jobId: string, readonly run: number }): Promise<RunOutcome>
  /** Somebody wants this job stopped; ignored unless it runs here. */
  cancel (jobId: string): void
  /** Stops what runs and puts it back in line, for an orderly shutdown. */
  stop (): Promise<void>
  /** The server is another process's now: lets go at once and touches nothing. */
  abandon (): void
}

export interface GenerationRunnerDependencies {
  /** As it is now; alias and timeout may change while jobs run. */
  readonly server: () => Server
  readonly client: A1111Client
  readonly monitor: ServerMonitor
  readonly store: JobStore
  readonly media: MediaStore
  readonly gate: Gate
  readonly log: Log
  /** Names this process and its lease. */
  readonly owner: string
  readonly prepare: (job: Job) => Promise<PreparedGeneration>
  readonly limits: FailureLimits & {
    readonly jobTimeoutSeconds: number
    readonly maxAnswerBytes: number
  }
}

/** A generation under way. */
interface Running {
  readonly connection: AbortController
  /** Why it is being stopped; null while it is not. */
  stopping: 'cancel' | 'shutdown' | null
}

/** How long a server may take to answer after an interrupt, before we hang up, in milliseconds. */
const answerAfterInterrupt = 30_000
/** How long a generation that nobody waits for may hold the server before the next is sent all the same. */
const orphanWait = 120_000

class Abandoned extends Error {}
class ShuttingDown extends Error {}

/** Runs the jobs of one server, one generation at a time, the next one prepared at the gate. */
export function createGenerationRunner (dependencies: GenerationRunnerDependencies): GenerationRunner {
  const { server, client, monitor, store, media, gate, owner, prepare, limits } = dependencies
  const log = dependencies.log
  const leaving = new AbortController()
  const running = new Map<string, Running>()
  const settled = new Set<Promise<unknown>>()

  /** Interrupts our task and hangs up if no answer comes of it. */
  function interrupt (jobId: string, generation: Running, why: 'cancel' | 'shutdown'): void {
    if (generation.stopping !== null) return
    generation.stopping = why
    const { signal } = generation.connection
    const hangUp = setTimeout(() => generation.connection.abort(new Error('no answer after the interrupt')),
      why === 'cancel' ? answerAfterInterrupt : answerAfterInterrupt / 10)
    signal.addEventListener('abort', () => { clearTimeout(hangUp) }, { once: true })
    stopOpenTask(client, jobId, signal).catch(error => {
      log.warn({ job: jobId, server: server().alias, error: messageOf(error) }, 'could not interrupt')
    })
  }

  async function run ({ jobId, run }: { jobId: string, run: number }): Promise<RunOutcome> {
    const job = await store.find(jobId)
    if (job === null || job.run !== run || job.status !== 'pending' || job.serverId !== server().id) return 'done'
    if (!monitor.usable()) return 'hold'
    const claim: RunClaim = { id: jobId, run, serverId: server().id, owner }
    let prepared: PreparedGeneration
    try {
      prepared = await prepare(job)
    } catch (error) {
      await failUnsent(claim, job, error)
      return 'done'
    }
    let openGate: () => void
    try {
      openGate = await gate.enter(leaving.signal)
    } catch {
      return 'hold'
    }
    try {
      // The line may have stopped, and the job been cancelled, while it stood at the gate.
      if (!monitor.usable()) return 'hold'
      if (await store.start(claim) === 'started') await generate(claim, job, prepared, openGate)
    } finally {
      openGate()
    }
    return 'done'
  }

  /** Ends a job that cannot even be sent. */
  async function failUnsent (claim: RunClaim, job: Job, error: unknown): Promise<void> {
    const failure: JobError = {
      code: error instanceof ServiceError ? error.code : 'internal_server_error',
      message: error instanceof ServiceError ? error.message : 'The job could not be prepared.',
      failureClass: error instanceof ServiceError && error.status < 500 ? 'request' : 'internal'
    }
    if (await store.start(claim) !== 'started') return
    await store.end(claim, 'failed', { error: failure })
    log.warn({ job: job.id, server: server().alias, code: failure.code, error: messageOf(error) }, 'job failed')
  }

  async function generate (
    claim: RunClaim, job: Job, prepared: PreparedGeneration, openGate: () => void
  ): Promise<void> {
    const generation: Running = { connection: new AbortController(), stopping: null }
    running.set(job.id, generation)
    const startedAt = Date.now()
    const collector = createImageCollector(media, job, startedAt)
    const progress = watchProgress({
      client,
      store,
      log,
      claim,
      onCancel: () => { interrupt(job.id, generation, 'cancel') },
      onSuperseded: () => { generation.connection.abort(new Abandoned()) }
    })
    try {
      if (job.starts > 0) await stopOrphan(job.id)
      log.info({ job: job.id, server: server().alias, run: claim.run }, 'generation started')
      const answer = await client.generate(job.submission.mode, prepared.body, {
        signal: generation.connection.signal,
        deadlineMs: (server().jobTimeoutSeconds ?? limits.jobTimeoutSeconds) * 1000,
        maxAnswerBytes: limits.maxAnswerBytes,
        createSink: collector.createSink
      })
      // The server is free: whoever is next may go while this one is being stored.
      openGate()
      progress.stop()
      await finish(claim, job, generation, answer, collector, startedAt)
    } catch (error) {
      progress.stop()
      await collector.discard()
      await recover(claim, job, generation, error, startedAt)
    } finally {
      running.delete(job.id)
      // Ends the timers and polls that an interrupt began.
      generation.connection.abort()
    }
  }

  async function finish (
    claim: RunClaim, job: Job, generation: Running, answer: GenerationAnswer, collector: ImageCollector,
    startedAt: number
  ): Promise<void> {
    if (generation.stopping === 'shutdown') {
      await collector.discard()
      await store.giveBack(claim, { attempts: [], usedAttempts: 0, crashes: 0, delayMs: 0 })
      log.info({ job: job.id, server: server().alias }, 'generation stopped for the shutdown; the job is back in line')
      return
    }
    const images = await collector.finish(answer.info, imagesAsked(job.submission.parameters))
    const partial = generation.stopping === 'cancel'
    monitor.proved()
    const differences = partial ? [] : checkAnswer(job.submission, answer)
    if (differences.some(({ code }) => code === 'different_checkpoint')) monitor.expectNewInventory()
    const status = await store.end(claim, 'completed', {
      result: { images, info: answer.info, partial, warnings: differences }
    })
    if (status === null) {
      await collector.discard()
      log.warn({ job: job.id, server: server().alias }, 'another process took the job over; this answer is dropped')
      return
    }
    log.info({ job: job.id, server: server().alias, status, images: images.length, ms: Date.now() - startedAt },
      `job ${status}`)
  }

  /** Decides after a generation that brought no answer what becomes of job, line and server. */
  async function recover (
    claim: RunClaim, job: Job, generation: Running, error: unknown, startedAt: number
  ): Promise<void> {
    if (generation.connection.signal.reason instanceof Abandoned) return
    const failure = asFailure(error)
    const described: JobError = { code: failure.code, message: failure.message, failureClass: failure.failureClass }
    const attempt: JobAttempt = {
      run: claim.run, server: server().alias, startedAt, endedAt: Date.now(), error: described
    }
    const attempts = [...job.attempts, attempt]
    log.warn({ job: job.id, server: server().alias, code: failure.code, error: failure.message }, 'generation failed')
    if (failure.mayBeRunning && failure.failureClass !== 'server-down') await stopOrphan(job.id)
    if (generation.stopping === 'cancel') {
      await store.end(claim, 'cancelled', { attempts })
      return
    }
    const decision = decideAfter(failure, job, limits)
    if (failure.failureClass === 'server-down' || failure.failureClass === 'unauthorized') await monitor.report(failure)
    if (decision.kind === 'fail') {
      await store.end(claim, 'failed', {
        error: { code: decision.code, message: decision.message, failureClass: failure.failureClass }, attempts
      })
      return
    }
    if (decision.remedy === 'unload-checkpoint') await client.unloadCheckpoint().catch(() => undefined)
    const { usedAttempts, crashes, delayMs } = decision
    await store.giveBack(claim, { attempts: [attempt], usedAttempts, crashes, delayMs })
  }

  /** A generation that nobody waits for still holds the server: stops it, so that it is not doubled beside itself. */
  async function stopOrphan (taskId: string): Promise<void> {
    const signal = AbortSignal.any([leaving.signal, AbortSignal.timeout(orphanWait)])
    await stopOrphanedTask(client, taskId, signal).catch(error => {
      log.debug({ job: taskId, server: server().alias, error: messageOf(error) }, 'the server does not tell what it runs')
    })
  }

  return {
    run (entry) {
      const outcome = run(entry)
      settled.add(outcome)
      return outcome.finally(() => { settled.delete(outcome) })
    },
    cancel (jobId) {
      const generation = running.get(jobId)
      if (generation !== undefined) interrupt(jobId, generation, 'cancel')
    },
    async stop () {
      leaving.abort(new ShuttingDown())
      for (const [jobId, generation] of running) interrupt(jobId, generation, 'shutdown')
      await Promise.allSettled([...settled])
    },
    abandon () {
      leaving.abort(new Abandoned())
      for (const generation of running.values()) generation.connection.abort(new Abandoned())
    }
  }
}

/** A fault of ours, such as a full disk, may have passed when the job is tried again. */
function asFailure (error: unknown): GenerationFailure {
  if (error instanceof GenerationFailure) return error
  const code = error instanceof ServiceError ? error.code : 'internal_server_error'
  const message = error instanceof ServiceError ? error.message : 'The result could not be stored.'
  return new GenerationFailure('passing', code, message, { cause: error })
}
