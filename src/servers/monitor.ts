import { setTimeout as sleep } from 'node:timers/promises'
import type { A1111Client } from '../a1111/client.ts'
import { isRateLimit } from '../a1111/failures.ts'
import { readCheckpoints, readLists } from '../a1111/inventory.ts'
import { probeServer, readRoutes, type ServerRoutes } from '../a1111/probe.ts'
import { GenerationFailure, type Inventory, type ServerTraits } from '../a1111/types.ts'
import { messageOf } from '../lib/errors.ts'
import type { Log } from '../lib/logging.ts'
import { redisProblemOf } from '../redis/errors.ts'
import { createLoraPass } from './lora-pass.ts'
import { defaultMonitorIntervals, type MonitorIntervals } from './monitor-intervals.ts'
import { answersLooks, lastAnswerOf, stateAt, type Server, type ServerState } from './registry.ts'
import { createStartCheck, type StartPatience } from './start-check.ts'
import type { ServerStateStore } from './state-store.ts'
import { createSuspicions } from './suspicions.ts'

const defaultPatience: StartPatience = { known: 30_000, unknown: 10_000 }

/** How long reports from generations keep a server out of use, in milliseconds. */
const shortestBreak = 1000
const longestBreak = 300_000
/** How long to wait whether a server that accepts connections again after it lost one answers, in milliseconds. */
const longestDoubt = 30_000
/** Least time between two readings of the inventory because of generations, in milliseconds. */
const rereadInterval = 30_000
/** Differences that are remembered for each server. */
const maxDifferences = 200
/** How long not to try a route that a generation found missing, in milliseconds; a restart ends it as well. */
const missingFor = 600_000
/** How often an unchanged state is added to the history, in milliseconds. */
const sampleInterval = 60_000

export interface ServerMonitor {
  /** Whether jobs can be sent. */
  usable (): boolean
  traits (): ServerTraits | null
  /**
   * Probes at once after a generation failed as if the server were gone or rejected us, and returns whether it answers:
   * then that generation is at fault. If it does not answer, this counts as a report.
   */
  stillAnswers (failure: GenerationFailure, signal?: AbortSignal): Promise<boolean>
  /**
   * A generation failed like one at a server that is still starting. If that is possible, the server stays out of use
   * for some more seconds and the answer is true: then the request is not at fault.
   */
  stillStarts (failure: GenerationFailure): Promise<boolean>
  /**
   * A generation found the server gone, rejecting us or unfit. Each further report without a successful generation in
   * between keeps the server out of use for longer, even if it answers probes.
   */
  report (failure: GenerationFailure): Promise<void>
  /**
   * A generation failed with an error that can be the server's or the request's fault. `known`: the request's, which
   * met it here before. Only different errors of different requests in a row count as a report.
   */
  suspect (failure: GenerationFailure, request: string): Promise<'first' | 'known' | 'server'>
  /** Whether no generation has succeeded since the last break of the server. */
  onTrial (): boolean
  /** Milliseconds until its break is over. */
  breakMs (): number
  /** A generation found that the server lacks a route, whatever its probes show. */
  lacks (route: string): Promise<void>
  /**
   * A generation succeeded.
   * @param version from its answer, the only cheap way to learn an A1111's version; null if the answer has none
   * @param request as for `suspect`; called only if that matters
   */
  proved (version: string | null, request?: () => string): void
  /** Probes now; never throws. */
  check (): Promise<ServerState>
  /** Probes and reads the inventory again now, because something has changed. */
  reload (): void
  /**
   * Generations showed that the server differs from its inventory. Reads the inventory again, once for each difference
   * and at most every 30 seconds: some servers always differ, and a reading takes a dozen requests.
   */
  differs (differences: readonly string[]): void
  close (): Promise<void>
}

export interface ServerMonitorDependencies {
  /** As it is now; its alias can change while it is watched. */
  readonly server: () => Server
  readonly client: A1111Client
  readonly states: ServerStateStore
  readonly log: Log
  readonly intervals?: MonitorIntervals
  /** Keeps a connection open, to notice if the server goes away between two probes; the returned function ends that. */
  readonly watch?: (onGone: () => void) => () => void
  /** Whether nothing runs at the server and `watch` would notice its end. */
  readonly isIdle?: () => boolean
  /** Called when the server becomes usable or unusable, and again at the next probe if the call failed. */
  readonly onUsable: (usable: boolean) => Promise<void>
}

/** Watches one server for the process that serves it, and records its state. */
export function createServerMonitor (dependencies: ServerMonitorDependencies): ServerMonitor {
  const { server, client, states, log, watch, isIdle = () => false, onUsable } = dependencies
  const { intervals = defaultMonitorIntervals } = dependencies
  const start = createStartCheck({
    server, states, log, patience: intervals.start ?? defaultPatience, interval: intervals.whileDown
  })
  const loraPass = createLoraPass({ server, client, states, log })
  let state: ServerState | null = null
  /** The last value that `onUsable` got and has handled. */
  let reportedUsable: boolean | null = null
  /** When the inventory is to be read again for a reason, and when in any case. */
  let [inventoryDueAt, usuallyDueAt] = [0, 0]
  let sampledAt = -Infinity
  /** Breaks since the last successful generation. */
  let reports = 0
  /** Number of failures reported so far. */
  let failures = 0
  const [differences, suspicions] = [new Set<string>(), createSuspicions()]
  let inventoryReadAt = 0
  /** By the monotonic clock, like the times of missing routes. */
  let outOfUseUntil = 0
  /** The reason for the server's break, and whether a restart ends it. */
  let [doubt, endsWithRestart] = ['', false]
  /** Routes that generations found missing, and until when that holds. */
  const missing = new Map<string, number>()
  /** Read once per start; null before. */
  let routes: ServerRoutes | null = null
  /** Why the last probe failed; null if it did not. */
  let lastFailure: GenerationFailure | null = null
  /** Whether it could have been restarted although no probe failed. */
  let mayBeNew = false
  /** Whether what it is holds until the next inventory: its connection has not broken since. */
  let isIdentified = false
  let stopWatching = () => {}
  /** Titles of the checkpoints in the inventory. */
  let [checkpoints, learnedVersion]: [string, string | null] = ['', null]
  let timer: NodeJS.Timeout | undefined
  let checking: Promise<ServerState> | null = null
  let closed = false

  async function enter (
    change: Pick<ServerState, 'reachable' | 'lastError'> & Partial<ServerState>, responseMs: number | null = null
  ): Promise<ServerState> {
    const known = state ?? stateAt(server().address, await states.read(server().id))
    const [before, timestamp] = [state, Date.now()]
    const changed = before?.reachable !== change.reachable
    // A server that was away can have another version, other extensions, another proxy.
    if (changed && change.reachable === 'no') forgetStart()
    const after: ServerState = {
      traits: known?.traits ?? null,
      inventoryReadAt: known?.inventoryReadAt ?? null,
      baseUrl: server().address.baseUrl,
      ...change,
      since: known?.reachable === change.reachable ? known.since : timestamp,
      checkedAt: timestamp,
      answeredAt: change.reachable === 'no' ? lastAnswerOf(known) : timestamp
    }
    state = after
    if (changed) {
      const seen = { server: server().alias, reachable: after.reachable, reason: after.lastError ?? undefined }
      if (after.reachable === 'yes') log.info(seen, 'server is up')
      else if (after.reachable === 'suspected') log.warn(seen, 'server answers, but gets a break; its queue is on hold')
      else log.warn(seen, 'server is down; its queue is on hold')
      if (after.reachable === 'yes') beginUp(before)
      else if (after.reachable !== 'suspected') stopWatching()
    }
    await reportUsable(after.reachable === 'yes')
    if (changed || performance.now() - sampledAt >= sampleInterval) {
      sampledAt = performance.now()
      await states.history.add(server().id, { at: timestamp, reachable: after.reachable, responseMs })
    }
    await states.write(server().id, after) // its event lets clients read the history
    return after
  }

  /** Forgets everything that holds for only one start of the server. */
  function forgetStart (): void {
    missing.clear()
    routes = null
    loraPass.stop()
  }

  function beginUp (before: ServerState | null): void {
    if (!answersLooks(before)) start.passed()
    stopWatching()
    if (!closed && watch !== undefined) stopWatching = watch(() => { isIdentified = false; checkSoon() })
  }

  async function reportUsable (usable: boolean): Promise<void> {
    if (reportedUsable === usable) return
    reportedUsable = null
    await onUsable(usable)
    reportedUsable = usable
  }

  async function enterFailure (error: unknown): Promise<ServerState> {
    if (endsWithRestart) outOfUseUntil = 0
    const unauthorized = error instanceof GenerationFailure && error.failureClass === 'unauthorized'
    return await enter({ reachable: unauthorized ? 'unauthorized' : 'no', lastError: messageOf(error) })
  }

  async function look (): Promise<ServerState> {
    const failuresBefore = failures
    try {
      // A restarted server can have changed: everything is read again after each outage.
      const isNew = mayBeNew || !answersLooks(state)
      const begin = performance.now()
      const isSame = isIdentified && !isNew && lastFailure === null && performance.now() < inventoryDue()
      const found = await probeServer(client, routes ?? undefined, isSame ? state?.traits ?? null : null)
      const responseMs = Math.round(performance.now() - begin)
      const due = isNew || performance.now() >= inventoryDue() ||
        titlesOf(await readCheckpoints(client)) !== checkpoints
      const read = due ? await readLists(client, found, null, new Set()) : null
      if (isNew && read !== null) await start.require(read.inventory, found)
      routes ??= await readRoutes(client)
      const { interrupt, img2img } = routes
      const traits = {
        ...found,
        version: found.version ?? learnedVersion,
        capabilities: { ...found.capabilities, interrupt, img2img },
        missingRoutes: missingNow()
      }
      // A probe before the failure of a generation does not describe the server after it.
      if (failures !== failuresBefore) return await look()
      lastFailure = null
      ;[mayBeNew, isIdentified] = [false, true]
      const seen = left() > 0
        ? { reachable: 'suspected', lastError: doubt } as const
        : { reachable: 'yes', lastError: null } as const
      if (read === null) return await enter({ ...seen, traits }, responseMs)
      const inventory = start.believed(read.inventory)
      if (isNew && state !== null) await loraPass.serverRestarted()
      await loraPass.writeInventory(inventory, read.loraFacts)
      inventoryReadAt = performance.now()
      const isUnsettled = start.rereads() || isNew
      inventoryDueAt = isUnsettled ? inventoryReadAt + 2 * intervals.whileDown : Infinity
      usuallyDueAt = inventoryReadAt + intervals.inventory
      checkpoints = titlesOf(inventory.checkpoints)
      return await enter({ ...seen, traits, inventoryReadAt: inventory.readAt }, responseMs)
    } catch (error) {
      lastFailure = error instanceof GenerationFailure ? error : null
      if (state !== null && isOwnFault(error)) {
        log.warn({ server: server().alias, err: error }, 'the server could not be checked, for a local reason')
        return state
      }
      if (state !== null && isRateLimit(error)) {
        log.warn({ server: server().alias, err: error }, 'the server wants fewer health checks')
        return state
      }
      start.failed(error)
      return await enterFailure(error)
    }
  }

  /** A name that a job needs is looked up at once, so that an idle server's lists only have to be read for people. */
  function inventoryDue (): number {
    const { inventory, inventoryWhileIdle = inventory } = intervals
    return Math.min(inventoryDueAt, isIdle() ? usuallyDueAt + inventoryWhileIdle - inventory : usuallyDueAt)
  }

  /** Milliseconds for which the server is still out of use, whatever its probes show. */
  const left = () => outOfUseUntil - performance.now()

  function missingNow (): string[] {
    for (const [route, until] of missing) if (performance.now() > until) missing.delete(route)
    return [...new Set([...routes?.missing ?? [], ...missing.keys()])]
  }

  function check (): Promise<ServerState> {
    checking ??= look().finally(() => {
      checking = null
      schedule()
    })
    return checking
  }

  async function checkUntilTold (until: number, signal: AbortSignal | undefined): Promise<ServerState> {
    const seen = await check()
    const isOpen = !answersLooks(seen) && lastFailure?.code === 'server_starting'
    if (!isOpen || closed || performance.now() > until) return seen
    const pause = Math.min(lastFailure?.retryAfterMs ?? 0, intervals.whileDown) + 1
    await sleep(pause, undefined, { signal }).catch(() => {})
    return signal?.aborted === true ? seen : await checkUntilTold(until, signal)
  }

  function checkSoon (): void {
    check().catch(error => { log.error({ server: server().alias, err: error }, 'server check failed') })
  }

  function schedule (): void {
    clearTimeout(timer)
    if (closed) return
    timer = setTimeout(checkSoon, pauseNow())
  }

  function pauseNow (): number {
    if (state?.reachable === 'yes') {
      const [due, { whileUp, whileIdle = whileUp }] = [inventoryDue() - performance.now(), intervals]
      return Math.min(isIdle() ? whileIdle : whileUp, due > 0 ? due + 1 : Infinity)
    }
    // During a break the monitor must not miss a restart, which would end it.
    const until = state?.reachable === 'suspected' ? left() : lastFailure?.retryAfterMs ?? Infinity
    return Math.max(1, Math.min(intervals.whileDown, until + 1))
  }

  function countReport (failure: GenerationFailure): void {
    reports++
    failures++
    endsWithRestart = !isOutage(failure)
    // A server that went away can have been restarted, which is over at once.
    const doublings = endsWithRestart ? reports - 1 : reports - 2
    if (doublings < 0) return
    doubt = failure.message
    outOfUseUntil = performance.now() + Math.min(2 ** doublings * shortestBreak, longestBreak)
  }

  async function report (failure: GenerationFailure): Promise<void> {
    countReport(failure)
    if (endsWithRestart) await enter({ reachable: 'suspected', lastError: failure.message })
    else await enterFailure(failure)
    schedule()
  }

  return {
    usable: () => state?.reachable === 'yes',
    traits: () => state?.traits ?? null,
    async stillAnswers (failure, signal) {
      failures++
      mayBeNew ||= failure.code === 'connection_lost'
      // A probe under way can have seen the server as it was before.
      await checking?.catch(() => undefined)
      // A server that accepts connections again has perhaps lost only this one; it is probed once that does no harm.
      if (answersLooks(await checkUntilTold(performance.now() + longestDoubt, signal))) return true
      countReport(failure)
      return false
    },
    async stillStarts (failure) {
      const held = start.hold()
      if (held === null) return false
      failures++
      log.warn({ server: server().alias, err: failure }, 'the server seems to be still starting; its queue is on hold')
      lastFailure = held
      await enterFailure(held)
      schedule()
      return true
    },
    report,
    async suspect (failure, request) {
      const verdict = suspicions.note({ request, words: failure.message })
      if (verdict === 'server') await report(failure)
      return verdict
    },
    onTrial: () => outOfUseUntil > 0,
    breakMs: () => Math.max(0, left()),
    async lacks (route) {
      missing.set(route, performance.now() + missingFor)
      if (state?.traits) await enter({ ...state, traits: { ...state.traits, missingRoutes: missingNow() } })
    },
    check,
    proved (version, request = () => '') {
      reports = 0
      outOfUseUntil = 0
      suspicions.wentWell(request)
      learnedVersion = version ?? learnedVersion
    },
    reload () {
      missing.clear()
      inventoryDueAt = 0
      checkSoon()
    },
    differs (found) {
      const fresh = found.filter(difference => !differences.has(difference))
      if (fresh.length === 0) return
      for (const difference of fresh) differences.add(difference)
      for (const oldest of [...differences].slice(0, -maxDifferences)) differences.delete(oldest)
      // If that is not possible yet, a later probe does it.
      inventoryDueAt = Math.min(inventoryDueAt, inventoryReadAt + rereadInterval)
      if (performance.now() >= inventoryDueAt) checkSoon()
    },
    async close () {
      closed = true
      clearTimeout(timer)
      stopWatching()
      await Promise.allSettled([checking, loraPass.close()])
    }
  }
}

/** Whether the server is away, in contrast to a server that answers but cannot generate. */
function isOutage ({ failureClass, code }: GenerationFailure): boolean {
  return failureClass === 'unauthorized' ||
    (failureClass === 'server-down' && code !== 'cuda_poisoned' && code !== 'stalled')
}

const titlesOf = (checkpoints: Inventory['checkpoints']) => checkpoints.map(({ title }) => title).join('\n')

/** Redis did not store the state, or this machine could not open a connection. */
function isOwnFault (error: unknown): boolean {
  // A server's failure such as ECONNREFUSED is none of Redis.
  return error instanceof GenerationFailure ? error.failureClass === 'internal' : redisProblemOf(error) !== null
}
