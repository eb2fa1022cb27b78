import type { A1111Client } from '../a1111/client.ts'
import { readCheckpoints, readInventory } from '../a1111/inventory.ts'
import { probeServer } from '../a1111/probe.ts'
import { GenerationFailure, type Inventory, type ServerTraits } from '../a1111/types.ts'
import { messageOf } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Server, ServerState } from './server.ts'
import type { ServerStateStore } from './state-store.ts'

/** How often a server is looked at, in milliseconds. */
export interface MonitorIntervals {
  readonly whileUp: number
  readonly whileDown: number
  readonly inventory: number
}

export const defaultMonitorIntervals: MonitorIntervals = { whileUp: 15_000, whileDown: 1000, inventory: 120_000 }

/** For how long reports from generations keep a server out of use, in milliseconds. */
const shortestBreak = 1000
const longestBreak = 300_000
/** Jobs that fail in a row before the fault is taken to be the server's. */
const mostSuspicions = 5
/** Least time between two readings of the inventory that generations give reason for, in milliseconds. */
const rereadInterval = 30_000
/** Differences that are remembered of each server. */
const mostDifferences = 200
/** How often a state that does not change goes into the history, in milliseconds. */
const sampleInterval = 60_000

export interface ServerMonitor {
  /** Whether jobs may be sent. */
  usable (): boolean
  traits (): ServerTraits | null
  /**
   * A generation found the server gone, closed to us or unfit. Each such report without a generation in between that
   * went well keeps the server out of use for longer, even if it answers when it is looked at.
   */
  report (failure: GenerationFailure): Promise<void>
  /**
   * A generation failed by an error of the server's that may pass. One job proves nothing; several in a row without a
   * generation in between that went well are as good as a report.
   */
  suspect (failure: GenerationFailure, jobId: string): Promise<void>
  /**
   * A generation went well.
   * @param version as its answer tells, which is the only cheap way to learn an A1111's; null where it does not
   */
  proved (version: string | null): void
  /** Looks now; never throws. */
  check (): Promise<ServerState>
  /** Looks and reads the inventory anew now, as something was found to have changed. */
  readAnew (): void
  /**
   * Generations showed that the server is other than its inventory says. Reads that again, once for each difference and
   * at most every 30 seconds: some servers always differ, and reading takes them a dozen requests.
   */
  differs (differences: readonly string[]): void
  close (): Promise<void>
}

export interface ServerMonitorDependencies {
  /** As it is now; its alias may change while it is watched. */
  readonly server: () => Server
  readonly client: A1111Client
  readonly states: ServerStateStore
  readonly log: Log
  readonly intervals?: MonitorIntervals
  /** Called when the server becomes usable or stops being so, and again at the next look where that failed. */
  readonly onUsable: (usable: boolean) => Promise<void>
}

/** Watches one server on behalf of the process that serves it, and writes down what it sees. */
export function createServerMonitor (dependencies: ServerMonitorDependencies): ServerMonitor {
  const { server, client, states, log, intervals = defaultMonitorIntervals, onUsable } = dependencies
  let state: ServerState | null = null
  /** What `onUsable` was told last and has dealt with. */
  let announced: boolean | null = null
  let inventoryDueAt = 0
  let sampledAt = -Infinity
  let reports = 0
  /** Failures that were ever told of. */
  let failures = 0
  const suspicions = new Set<string>()
  const differences = new Set<string>()
  let inventoryReadAt = 0
  let outOfUseUntil = 0
  /** Titles of the checkpoints in the inventory. */
  let checkpoints = ''
  let learnedVersion: string | null = null
  let timer: NodeJS.Timeout | undefined
  let checking: Promise<ServerState> | null = null
  let closed = false

  async function enter (
    change: Pick<ServerState, 'reachable' | 'lastError'> & Partial<ServerState>, responseMs: number | null = null
  ): Promise<ServerState> {
    const before = state
    const moment = Date.now()
    const changed = before?.reachable !== change.reachable
    const after: ServerState = {
      traits: before?.traits ?? null,
      inventoryReadAt: before?.inventoryReadAt ?? null,
      ...change,
      since: changed ? moment : before?.since ?? moment,
      checkedAt: moment
    }
    state = after
    if (changed) {
      const seen = { server: server().alias, reachable: after.reachable, reason: after.lastError ?? undefined }
      if (after.reachable === 'yes') log.info(seen, 'server is up')
      else log.warn(seen, 'server is down; its line waits')
    }
    await announce(after.reachable === 'yes')
    await states.write(server().id, after)
    if (changed || performance.now() - sampledAt >= sampleInterval) {
      sampledAt = performance.now()
      await states.history.add(server().id, { at: moment, reachable: after.reachable, responseMs })
    }
    return after
  }

  async function announce (usable: boolean): Promise<void> {
    if (announced === usable) return
    announced = null
    await onUsable(usable)
    announced = usable
  }

  async function enterFailure (error: unknown): Promise<ServerState> {
    const unauthorized = error instanceof GenerationFailure && error.failureClass === 'unauthorized'
    return await enter({ reachable: unauthorized ? 'unauthorized' : 'no', lastError: messageOf(error) })
  }

  async function look (): Promise<ServerState> {
    if (state !== null && performance.now() < outOfUseUntil) return state
    const failuresBefore = failures
    try {
      // A restarted server may have become another: everything is read anew after each outage.
      const begin = performance.now()
      const found = await probeServer(client)
      const traits = { ...found, version: found.version ?? learnedVersion }
      const responseMs = Math.round(performance.now() - begin)
      const due = state?.reachable !== 'yes' || performance.now() >= inventoryDueAt ||
        titlesOf(await readCheckpoints(client)) !== checkpoints
      const inventory = due ? await readInventory(client, traits) : null
      // What was seen before a generation failed says nothing of the server that failed it.
      if (failures !== failuresBefore) return await look()
      if (inventory === null) return await enter({ reachable: 'yes', lastError: null, traits }, responseMs)
      await states.writeInventory(server().id, inventory)
      inventoryReadAt = performance.now()
      inventoryDueAt = inventoryReadAt + intervals.inventory
      checkpoints = titlesOf(inventory.checkpoints)
      return await enter({ reachable: 'yes', lastError: null, traits, inventoryReadAt: inventory.readAt }, responseMs)
    } catch (error) {
      return await enterFailure(error)
    }
  }

  function check (): Promise<ServerState> {
    checking ??= look().finally(() => {
      checking = null
      schedule()
    })
    return checking
  }

  function checkSoon (): void {
    check().catch(error => { log.error({ server: server().alias, err: error }, 'server check failed') })
  }

  function schedule (): void {
    clearTimeout(timer)
    if (closed) return
    const pause = state?.reachable === 'yes' ? intervals.whileUp : intervals.whileDown
    timer = setTimeout(checkSoon, Math.max(pause, outOfUseUntil - performance.now()))
  }

  async function report (failure: GenerationFailure): Promise<void> {
    reports++
    failures++
    suspicions.clear()
    // The first time it may have been a restart, which is over at once.
    if (reports > 1) outOfUseUntil = performance.now() + Math.min(2 ** (reports - 2) * shortestBreak, longestBreak)
    await enterFailure(failure)
    schedule()
  }

  return {
    usable: () => state?.reachable === 'yes',
    traits: () => state?.traits ?? null,
    report,
    async suspect (failure, jobId) {
      suspicions.add(jobId)
      // After a break the next job is a trial.
      if (reports > 0 || suspicions.size >= mostSuspicions) await report(failure)
    },
    check,
    proved (version) {
      reports = 0
      suspicions.clear()
      learnedVersion = version ?? learnedVersion
    },
    readAnew () {
      inventoryDueAt = 0
      checkSoon()
    },
    differs (found) {
      const fresh = found.filter(difference => !differences.has(difference))
      if (fresh.length === 0) return
      for (const difference of fresh) differences.add(difference)
      for (const oldest of [...differences].slice(0, -mostDifferences)) differences.delete(oldest)
      // Where that is not yet, a later look sees to it.
      inventoryDueAt = Math.min(inventoryDueAt, inventoryReadAt + rereadInterval)
      if (performance.now() >= inventoryDueAt) checkSoon()
    },
    async close () {
      closed = true
      clearTimeout(timer)
      await checking?.catch(() => undefined)
    }
  }
}

function titlesOf (checkpoints: Inventory['checkpoints']): string {
  return checkpoints.map(({ title }) => title).join('\n')
}
