import type { A1111Client } from '../a1111/client.ts'
import type { RawCalls } from '../a1111/raw-calls.ts'
import { GenerationFailure, type ServerTraits } from '../a1111/types.ts'
import { createTaskControl } from '../jobs/interrupt.ts'
import type { TaskKnowledge } from '../jobs/task-knowledge.ts'
import { createWakeUp, DeadlinePassed, withDeadline } from '../lib/deadline.ts'
import type { Log } from '../lib/logging.ts'
import type { Semaphore } from '../lib/semaphore.ts'
import { nothingLearned, type ServerLearning } from '../servers/learned-traits.ts'
import type { Server } from '../servers/registry.ts'
import type { CheckStore, StoredCheck, StoredUndo } from './check-service.ts'
import { type CheckReport, noFacts, writeReport } from './report.ts'
import { runCheck, waitingSteps } from './run-check.ts'
import { type CheckLimits, defaultLimits } from './session.ts'
import { isEmpty, nothingToUndo, putBack, type UndoNotes, type UndoRecord } from './undo.ts'

/** The checks of one server, while this process serves it. */
export interface CheckServer {
  /**
   * Whether a check has exclusive use of the server, or has yet to restore something: nothing else is sent meanwhile.
   */
  holds (): boolean
  /** A check was requested or cancelled, or the server can be used again. */
  look (): void
  /** Cancels the running check, which restores everything. */
  cancel (): void
  /** Another process serves the server now and restores everything. */
  abandon (): void
  close (deadlineMs: number): Promise<void>
}

export interface CheckServerDependencies {
  readonly server: () => Server
  readonly store: CheckStore
  readonly client: A1111Client
  readonly calls: RawCalls
  readonly sendSlot: Semaphore
  /** The fence of the lease; changes are made only under it. */
  readonly fence: number
  readonly holdsLease: () => Promise<boolean>
  readonly usable: () => boolean
  /** Probes the server now, and returns the reason why it cannot be used; null if it can. */
  readonly lookNow: () => Promise<string | null>
  readonly traits: () => ServerTraits | null
  readonly redisVersion: () => Promise<string | null>
  /** What the server's reports about tasks mean, for generations that another process left. */
  readonly tasks: TaskKnowledge
  readonly learning: ServerLearning
  /** Pauses or resumes the queue of the server, by `holds` among other things. */
  readonly setQueue: () => Promise<void>
  readonly limits?: CheckLimits
  readonly log: Log
}

/** How long a check waits for a server that has yet to be probed, in milliseconds. */
const untilUsable = 20_000
/** Pause after an error of Redis or the server, in milliseconds. */
const pauseAfterTrouble = 1000
/** How often to try to restore settings at a server that answers but refuses. */
const maxAttempts = 5

class Lost extends Error {
  override readonly name = 'Lost'
}

/**
 * Runs the checks of a server one after the other, and restores the changes of a check whose process died. Resolves
 * when it is known whether there is anything to restore: nothing must be sent to the server before.
 */
export async function serveChecks (dependencies: CheckServerDependencies): Promise<CheckServer> {
  const {
    server, store, client, calls, sendSlot, fence, holdsLease, usable, lookNow, traits, redisVersion, tasks, learning,
    setQueue, log, limits = defaultLimits
  } = dependencies
  const serverId = server().id
  const baseUrl = server().address.baseUrl
  const control = createTaskControl({ interrupt: client.interrupt, progress: tasks.progress }, holdsLease)
  const lost = new AbortController()
  const leaving = new AbortController()
  let cancelled = new AbortController()
  let running: StoredCheck | null = null
  let held = false
  let attempts = 0
  const { ring, quiet } = createWakeUp(leaving.signal)

  function look (): void {
    ring()
    const { id } = running ?? {}
    if (id === undefined) return
    store.isCancelled(serverId, id).then(isSo => { if (isSo && running?.id === id) cancelled.abort() })
      .catch(() => { /* Redis is away; it is looked at again soon */ })
  }

  async function hold (wanted: boolean): Promise<void> {
    if (held === wanted) return
    held = wanted
    await setQueue()
  }

  /**
   * The record in Redis, which is written before each change; throws if this process must not change anything any more.
   */
  function notesOf (first: UndoRecord): UndoNotes {
    let record = first
    return {
      read: () => record,
      async write (next) {
        lost.signal.throwIfAborted()
        const kept = isEmpty(next) ? null : { ...next, baseUrl }
        if (!await store.writeUndo(serverId, kept, fence)) {
          lost.abort(new Lost('another process serves the server now'))
          leaving.abort(lost.signal.reason)
          lost.signal.throwIfAborted()
        }
        record = next
      }
    }
  }

  function reportOf (
    check: StoredCheck, outcome: CheckReport['outcome'], reason: string | null, put: CheckReport['put_back'], redis: string | null
  ): CheckReport {
    const steps = check.steps.map(step =>
      step.state === 'running' ? { ...step, state: 'not_found_out' as const, note: reason } : step)
    const known = { ...noFacts(check.wishes), traits: traits(), version: traits()?.version ?? null }
    return writeReport(known, nothingLearned, {
      id: check.id,
      alias: server().alias,
      baseUrl,
      redisVersion: redis,
      startedAt: check.askedAt,
      outcome,
      reason,
      steps,
      requests: [],
      generations: { made: 0, at_most: 0 },
      putBack: put
    })
  }

  async function endWithout (check: StoredCheck, outcome: CheckReport['outcome'], reason: string | null): Promise<void> {
    await store.end(serverId, reportOf(check, outcome, reason, 'nothing', await redisVersion()), fence)
  }

  /** The send slot, once the running generation is over. @throws DeadlinePassed */
  async function enter (milliseconds: number, end: AbortSignal): Promise<() => void> {
    return await withDeadline(milliseconds, [leaving.signal, end], sendSlot.enter)
  }

  async function waitUntilUsable (): Promise<boolean> {
    const begin = performance.now()
    const isOver = () => performance.now() - begin > untilUsable || cancelled.signal.aborted || leaving.signal.aborted
    while (!usable() && !isOver()) {
      await quiet(pauseAfterTrouble / 5)
    }
    return usable()
  }

  async function run (asked: StoredCheck): Promise<void> {
    cancelled = new AbortController()
    running = { ...asked, state: 'waiting', steps: waitingSteps() }
    if (leaving.signal.aborted || !await store.write(serverId, running, fence)) return
    if (await store.isCancelled(serverId, asked.id)) cancelled.abort()
    if (!await waitUntilUsable()) {
      const isCancelled = cancelled.signal.aborted
      const why = await lookNow() ?? 'it gets a break'
      return await endWithout(running, isCancelled ? 'cancelled' : 'could_not_run',
        isCancelled ? null : `The server cannot be used: ${why}`)
    }
    let openGate: () => void
    try {
      openGate = await enter(limits.waitMs, cancelled.signal)
    } catch (error) {
      lost.signal.throwIfAborted()
      if (cancelled.signal.aborted) return await endWithout(running, 'cancelled', null)
      if (!(error instanceof DeadlinePassed)) throw error
      return await endWithout(running, 'could_not_run',
        `Something else was running for ${Math.round(limits.waitMs / 1000)} s.`)
    }
    try {
      await runNow(running)
    } finally {
      openGate()
    }
  }

  async function runNow (check: StoredCheck): Promise<void> {
    let writing: Promise<unknown> = Promise.resolve()
    const { report, learned } = await runCheck({
      id: check.id,
      alias: server().alias,
      baseUrl,
      redisVersion: await redisVersion(),
      requested: check.wishes,
      client,
      calls,
      control,
      undo: notesOf(nothingToUndo),
      limits,
      cancelled: cancelled.signal,
      lost: lost.signal,
      onSteps (steps) {
        const isPuttingBack = steps.at(-1)?.state === 'running'
        running = { ...check, state: isPuttingBack ? 'putting_back' : 'running', steps: [...steps] }
        const now = running
        writing = writing.then(async () => await store.write(serverId, now, fence))
          .catch(error => { log.debug({ server: server().alias, err: error }, 'the state of a check could not be written') })
      },
      log
    })
    await writing
    learning.note(learned)
    await store.end(serverId, report, fence)
    log.info({ server: server().alias, check: check.id, outcome: report.outcome, verdict: report.verdict }, 'the server was checked')
  }

  /** Restores the changes of a check that is over or whose process died. */
  async function recover (check: StoredCheck | null, undo: StoredUndo | null): Promise<void> {
    const record = undo === null || undo.baseUrl !== baseUrl ? nothingToUndo : undo
    if (!isEmpty(record) && !usable()) return await quiet()
    let state: CheckReport['put_back'] = 'done'
    if (!isEmpty(record)) {
      const openGate = await enter(Infinity, lost.signal)
      try {
        const left = await putBack(record, { calls, control, signal: lost.signal })
        if (left.length > 0) throw new Error(`Not put back: ${left.join(', ')}.`)
      } catch (error) {
        lost.signal.throwIfAborted()
        const isAway = error instanceof GenerationFailure && error.failureClass === 'server-down'
        // A server that is down gets no request before it is up again.
        if (isAway) await lookNow()
        if (isAway || ++attempts < maxAttempts) {
          log.debug({ server: server().alias, err: error }, 'what a check has changed is not put back yet')
          return await quiet(pauseAfterTrouble)
        }
        log.error({ server: server().alias, settings: Object.keys(record.settings), err: error },
          'settings that a check has changed could not be put back; look at the settings of the server')
        state = 'failed'
      } finally {
        openGate()
      }
    }
    attempts = 0
    if (!await store.writeUndo(serverId, null, fence)) throw new Lost('another process serves the server now')
    if (check !== null) {
      const why = 'The process that ran it stopped.'
      await store.end(serverId, reportOf(check, 'broken_off', why, state, await redisVersion()), fence)
      log.warn({ server: server().alias, check: check.id }, 'a check was left by its process; everything is put back')
      return
    }
    const last = await store.lastReport(serverId)
    if (last?.put_back === 'pending') await store.end(serverId, { ...last, put_back: state }, fence)
  }

  async function next (): Promise<void> {
    const [check, undo] = await Promise.all([store.present(serverId), store.undo(serverId)])
    if (check === null && undo === null) {
      await hold(false)
      return await quiet()
    }
    await hold(true)
    if (leaving.signal.aborted) return
    if (check?.state === 'asked' && undo === null) await run(check).finally(() => { running = null })
    else await recover(check, undo)
  }

  async function work (): Promise<void> {
    while (!leaving.signal.aborted) {
      await next().catch(async error => {
        if (leaving.signal.aborted || error instanceof Lost) return
        log.warn({ server: server().alias, err: error }, 'could not see to a check')
        await quiet(pauseAfterTrouble)
      })
    }
  }

  const [present, left] = await Promise.all([store.present(serverId), store.undo(serverId)])
  held = present !== null || left !== null
  const working = work()

  return {
    holds: () => held,
    look,
    cancel () {
      leaving.abort(new Lost('the process stops'))
      cancelled.abort()
    },
    abandon () {
      lost.abort(new Lost('another process serves the server now'))
      leaving.abort(lost.signal.reason)
    },
    async close (deadlineMs) {
      leaving.abort(new Lost('the process stops'))
      cancelled.abort()
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<void>(resolve => { timer = setTimeout(resolve, deadlineMs) })
      await Promise.race([working, late])
      clearTimeout(timer)
      lost.abort(new Lost('the process stops'))
      await Promise.all([working, calls.close()])
    }
  }
}
