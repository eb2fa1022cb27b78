import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import type { GenerationOptions } from '../a1111/generation-call.ts'
import { type GenerationAnswer, GenerationFailure, type GenerationMode, type ServerProgress } from '../a1111/types.ts'
import type { Log } from '../lib/logging.ts'
import { createTaskRecogniser, stopOpenTask, type TaskControl } from './interrupt.ts'
import type { Claimer } from './claimer.ts'
import type { JobStore, RunClaim, StartAnswer } from './store.ts'
import type { TaskKnowledge } from './task-knowledge.ts'

/** Why a generation is being stopped; `taken`: the job was taken away, or the server closed, before it could begin. */
export type StopReason = 'cancel' | 'shutdown' | 'taken'

/** One generation, from before it is sent until the server is free of it, and the means to stop it. */
export interface OpenGeneration {
  /** Looks whether the server is idle, if its tasks cannot be told apart. Call this right before `send`. */
  before (): Promise<void>
  /**
   * @throws GenerationFailure; `cancelled` if it was stopped before it was sent, or is work on finished images, which
   * continues without a client
   */
  send (mode: GenerationMode, body: string, options: Omit<GenerationOptions, 'signal'>): Promise<GenerationAnswer>
  /**
   * Interrupts it at the server, which then answers with what it has; disconnects if no answer comes. Work on finished
   * images cannot be interrupted: the wait for it ends, and its answer is dropped.
   */
  stop (why: StopReason): void
  /** The reason of the stop; null while it is not being stopped. */
  stopReason (): StopReason | null
  /** Aborted when it is being stopped. */
  readonly stopped: AbortSignal
  /** Ends the call at once and leaves the server alone. */
  disconnectSignal (why: Error): void
  /** Aborted when its answer is no longer awaited. */
  readonly hungUp: AbortSignal
  /** The argument of `disconnectSignal`. */
  hungUpFor (): unknown
  /** Whether the task that the server shows is this generation. */
  isOurs (seen: ServerProgress): boolean
  /**
   * Resolves when no interrupt is on its way any more, so that none can hit the next generation, and the server is done
   * with uninterruptible work.
   */
  close (): Promise<void>
}

/** How long a server can take to answer after an interrupt before we disconnect, in milliseconds. */
const answerAfterInterrupt: Readonly<Record<StopReason, number>> = { cancel: 30_000, shutdown: 2000, taken: 30_000 }

/** Made once: the usual reason of an abort costs a stack trace each time. */
const ended = new Error('the generation is over')

export interface OpenGenerationParts {
  readonly client: Pick<A1111Client, 'generate'>
  readonly control: TaskControl
  readonly tasks: TaskKnowledge
  readonly log: Log
  /** Called once, when the server shows a mark by which this generation can be recognised. */
  readonly onMark: (mark: string) => void
}

export function createOpenGeneration (
  taskId: string, { client, control, tasks, log, onMark }: OpenGenerationParts
): OpenGeneration {
  const connection = new AbortController()
  const stopping = new AbortController()
  const over = new AbortController()
  const recogniser = createTaskRecogniser(tasks, taskId, onMark, over.signal)
  let reason: StopReason | null = null
  let sent: GenerationMode | null = null
  let interrupting: Promise<void> = Promise.resolve()
  let workLeft: Promise<unknown> = Promise.resolve()

  function interrupt (why: StopReason): void {
    const disconnectSignal = setTimeout(() => { connection.abort(new Error('no answer after the interrupt')) },
      answerAfterInterrupt[why])
    interrupting = stopOpenTask(control, taskId, recogniser.isOurs, over.signal)
      .catch(error => { log.warn({ job: taskId, err: error }, 'could not interrupt') })
    over.signal.addEventListener('abort', () => { clearTimeout(disconnectSignal) }, { once: true })
  }

  /** The answer, unless it is stopped before: for such work A1111 reports no task that could be interrupted. */
  async function unlessStopped (work: Promise<GenerationAnswer>): Promise<GenerationAnswer> {
    const stopped = new Promise<never>((_resolve, reject) => {
      stopping.signal.addEventListener('abort', () => {
        workLeft = work.catch(() => undefined)
        reject(stoppedWork())
      }, { once: true })
    })
    return await Promise.race([work, stopped])
  }

  return {
    stopped: stopping.signal,
    stopReason: () => reason,
    hungUp: connection.signal,
    hungUpFor: () => connection.signal.reason as unknown,
    isOurs: recogniser.isOurs,
    before: recogniser.before,
    async send (mode, body, options) {
      if (reason !== null) throw new GenerationFailure('cancelled', 'cancelled', 'It was stopped before it was sent.')
      sent = mode
      // No server treats work on finished images as a task.
      let answered = () => {}
      const answer = client.generate(mode, body, {
        ...options,
        signal: connection.signal,
        onSent () {
          if (mode !== 'extras') answered = tasks.sent(taskId)
          recogniser.sent()
          options.onSent?.()
        },
        onAnswering () {
          answered()
          if (mode !== 'extras') tasks.answered(taskId)
          if (mode === 'extras' && reason !== null) throw stoppedWork()
          options.onAnswering?.()
        }
      }).finally(() => { answered() })
      return mode === 'extras' ? await unlessStopped(answer) : await answer
    },
    stop (why) {
      // this loses nothing: the work is done again after the shutdown
      if (sent === 'extras' && why === 'shutdown') connection.abort(new Error('the service stops'))
      if (reason !== null) return
      reason = why
      stopping.abort()
      if (sent !== null && sent !== 'extras' && !over.signal.aborted) interrupt(why)
    },
    disconnectSignal (why) { connection.abort(why) },
    async close () {
      over.abort(ended)
      await Promise.all([interrupting, workLeft])
    }
  }
}

function stoppedWork (): GenerationFailure {
  return new GenerationFailure('cancelled', 'cancelled', 'It was stopped; the server works on until it is done.')
}

/** Another process serves the server now. */
export class Abandoned extends Error {}

/** Pause before Redis is asked again whether this process holds a lease, in milliseconds. */
const askAgainAfter = 100

/**
 * Resolves if this process serves the server, or when the signal is aborted. It can have been frozen or cut off from
 * Redis since the job began. Only a process in doubt asks Redis, and then it waits for the answer.
 * @throws Abandoned if another process serves the server
 */
export async function stillServing (
  { isSure, holdsLease }: Pick<BeginningParts, 'isSure'> & { readonly holdsLease: () => Promise<boolean> },
  signal: AbortSignal
): Promise<void> {
  while (!isSure() && !signal.aborted) {
    const holds = await holdsLease().catch(() => null)
    if (holds === true) return
    if (holds === false) throw new Abandoned()
    await sleep(askAgainAfter, undefined, { signal }).catch(() => undefined)
  }
}

/** How a generation begins. */
export interface Beginning {
  /** Only after `started` it can be sent. */
  readonly answer: StartAnswer
  /**
   * What the record says of it. After anything but `started` the generation is stopped, and leaves nothing. `unknown`:
   * Redis reported an error.
   */
  readonly confirmed: Promise<StartAnswer | 'unknown'>
}

export interface BeginningParts {
  readonly store: Pick<JobStore, 'start'>
  readonly fence: number
  readonly claimer: Pick<Claimer, 'isReserved' | 'leave'>
  /** Whether this process holds the lease and gets all notices, as far as it knows without asking Redis. */
  readonly isSure: () => boolean
  readonly log: Log
}

/**
 * The claim reserved the job for its server. So the request need not wait until Redis has written that it begins,
 * unless anything suggests that the claim no longer holds. If something takes the job away or dies between the two, no
 * record counts that generation. So only the first one of a job begins like that: a job that comes back waits.
 */
export function createBeginning ({ store, fence, claimer, isSure, log }: BeginningParts) {
  /** Whether Redis accepted the last one: a job must not be sent again and again while Redis refuses writes. */
  let isAccepted = true
  /** Jobs that were sent although no record says so: next time they wait. Those that never come back here are few. */
  const unnoted = new Set<string>()

  async function confirm (
    starting: Promise<StartAnswer>, { id }: RunClaim, generation: OpenGeneration
  ): Promise<StartAnswer | 'unknown'> {
    try {
      const answer = await starting
      if (answer === 'lease_lost') generation.disconnectSignal(new Abandoned())
      if (answer === 'superseded') {
        log.info({ job: id }, 'the job was taken away while it began; its generation is stopped')
        generation.stop('taken')
      }
      if (answer === 'closed') {
        unnoted.add(id)
        log.info({ job: id }, 'an operator closed the server while the job began; its generation is stopped')
        generation.stop('taken')
      }
      return answer
    } catch (error) {
      isAccepted = false
      unnoted.add(id)
      log.warn({ job: id, err: error }, 'the record of the job could not be changed; its generation is stopped')
      generation.stop('taken')
      return 'unknown'
    }
  }

  /** @param onNoted called when the note is under way: what is sent to Redis now comes after it */
  return async (claim: RunClaim, generation: OpenGeneration, onNoted: () => void): Promise<Beginning> => {
    const isFirst = claim.run === 1 && !unnoted.has(claim.id)
    const isReserved = isFirst && isAccepted && isSure() && claimer.isReserved(claim.id, claim.run)
    claimer.leave(claim.id, claim.run)
    if (!isReserved) {
      const answer = await store.start(claim, fence)
      isAccepted = true
      unnoted.delete(claim.id)
      if (answer === 'started') onNoted()
      return { answer, confirmed: Promise.resolve(answer) }
    }
    // The request goes first: Redis answers nobody while it writes to the disk.
    const starting = requestWritten().then(async () => {
      const noted = store.start(claim, fence)
      onNoted()
      return await noted
    })
    return { answer: 'started', confirmed: confirm(starting, claim, generation) }
  }
}

/**
 * Resolves in this turn of the event loop, once a request over an open connection is written. A turn later, all that
 * has arrived meanwhile would be worked on before the server's next job is claimed.
 */
async function requestWritten (): Promise<void> {
  // Node's client writes in a tick of its own, which comes between these two.
  await new Promise<void>(resolve => { process.nextTick(() => { process.nextTick(resolve) }) })
}
