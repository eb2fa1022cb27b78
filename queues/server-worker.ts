import type { RawCalls } from '../src/a1111/raw-calls.ts'
import type { GenerationRunner, RunOutcome } from '../src/jobs/run-generation.ts'
import { fieldsOf } from '../src/lib/json-values.ts'
import { createSemaphore } from '../src/lib/semaphore.ts'
import { versionOf } from '../src/redis/check.ts'
import type { CheckStore } from '../src/server-check/check-service.ts'
import { type CheckServerDependencies, serveChecks } from '../src/server-check/serve-checks.ts'
import { createExclusiveCallQueue, grantExclusiveCalls } from '../src/servers/exclusive-calls.ts'
import { createServerMonitor } from '../src/servers/monitor.ts'
import type { MonitorIntervals } from '../src/servers/monitor-intervals.ts'
import { createProcessConnection } from '../src/servers/options-access.ts'
import type { Server, ServerRegistry } from '../src/servers/registry.ts'
import type { ServerStarts } from '../src/servers/start-guard.ts'
import { createGenerationWorker, type GenerationData, type GenerationQueues, type GenerationWorker } from './generation-queue.ts'
import { createHeldEntries, createQueueRepair } from './queue-repair.ts'
import { createServerFeed } from './server-feed.ts'
import { createServerRunner, type ServerRunnerDependencies } from './server-runner.ts'

/** How often the whole queue is compared with the records, in milliseconds. */
const repairInterval = 30_000
/**
 * How often to look at the pool and at checks of the server although no notice came, and how often the pool asks again
 * what the server can run, as that also depends on other servers; in milliseconds.
 */
const lookInterval = 10_000
/** How often a server that moves gives up images that cannot be stored here, in milliseconds. */
const giveUpInterval = 1000
/** From the end of the last job until the server's own options are restored, in milliseconds. */
const restoreAfter = 100

export interface WorkerIntervals extends MonitorIntervals {
  /** How often queues are compared with the records, in milliseconds. */
  readonly repair?: number
}

export interface ServerWorkerDependencies extends ServerRunnerDependencies {
  readonly queues: GenerationQueues
  readonly registry: Pick<ServerRegistry, 'list'>
  /** Thorough checks of servers, and how their requests are made. */
  readonly checks: {
    readonly store: CheckStore
    readonly connect: (server: Server) => RawCalls
    readonly limits?: CheckServerDependencies['limits']
  }
  readonly starts: Pick<ServerStarts, 'watch' | 'isWatched'>
  /** Whether an operator lets any server take jobs. */
  readonly processes: () => boolean
  readonly intervals?: WorkerIntervals
}

/** Watches a server and runs its jobs, while this process holds the server's lease. */
export interface ServerWorker {
  readonly cancel: GenerationRunner['cancel']
  /** A job is about to be created that this server probably gets if it is idle. */
  readonly expect: GenerationRunner['expect']
  /** Looks at the server and reads its inventory now. */
  reload (): void
  /** Pauses or resumes the queue, after an operator did, or after a fault of storage came or went. */
  updateQueue (): void
  /** A call that is no job waits for the server, or is over. */
  lookAtExclusiveCalls (): void
  /** A job of this class entered the pool. */
  lookAtPool (classId: string): void
  /** A script gave the idle server a job. @param text a message of the channel `given` */
  given (text: string): void
  /** A claimed job was taken away from its server. @param name id and run */
  taken (name: string): void
  /** Notices of that can have been lost. */
  doubt (): void
  /** What the server can run, or what others can, can have changed. */
  forgetClasses (): void
  /** A thorough check of the server was requested or cancelled. */
  lookAtChecks (): void
  /**
   * Repairs what is due. To be called right after the lease was renewed: to a process that has lost the lease, the
   * holder's jobs look like those of a dead worker.
   */
  repair (): void
  /** Redis was away: the next repair covers the whole queue. */
  repairSoon (): void
  /**
   * Begins nothing more, so that another process can serve the server. Resolves when nothing runs or is being stored;
   * with false if a thorough check needs this process.
   */
  retire (): Promise<boolean>
  /** Stops what runs and puts it back into the queue; fetched jobs wait. */
  drain (): Promise<void>
  /** Another process serves the server now: drops everything and sends nothing more. */
  abandon (): void
  close (deadlineMs: number): Promise<void>
}

/** @param isCurrent whether this worker still has the lease; without it, it changes nothing */
export async function startServerWorker (
  dependencies: ServerWorkerDependencies, isCurrent: () => boolean
): Promise<ServerWorker> {
  const {
    server, connection, keys, queues, store, claims, registry, storage, states, log, fence, holdsLease, connect, starts,
    processes, limits
  } = dependencies
  const serverId = server().id
  const held = createHeldEntries()
  const repair = createQueueRepair({
    server, store, queues, log, fence, maxAttempts: limits.attempts, isHeld: held.has
  })
  await queues.pause(serverId)
  const possiblySent = await claims.possiblySent(serverId, fence)
  const orphans = await repair.takeBack()
  // What was claimed next waits behind what ran, as before; and its next generation is noted before it is sent.
  if (orphans.length + possiblySent.length > 0) await claims.unclaim(serverId, { fence })
  const client = connect(server())
  const processConnection = createProcessConnection(client)

  // No job starts before it is known whether a check has left anything to undo.
  let checkHolds = () => true
  let retiring = false
  const isTakenOut = () => server().paused || server().draining
  const mayBegin = (usable: boolean) =>
    usable && !retiring && !isTakenOut() && processes() && storage.last() === null && !checkHolds()
  const sendSlot = createSemaphore(1)
  let lookAtExclusiveCalls = () => {}
  let lookAtChecks = () => {}
  let runEarly: GenerationWorker['runEarly'] = () => {}
  let expectNext = () => {}

  /** The queue runs while the server can be used, its images can be stored, and no operator has paused it. */
  async function setQueue (usable: boolean): Promise<void> {
    if (!isCurrent()) return
    if (mayBegin(usable)) {
      await queues.resume(serverId)
      feed.look()
    } else {
      await queues.pause(serverId)
      await feed.giveBack()
    }
    lookAtExclusiveCalls()
    lookAtChecks()
    drain()
  }

  let draining = Promise.resolve()
  /** A server that an operator takes out claims nothing more, and says when it is empty. */
  function drain (): void {
    draining = draining.then(async () => {
      if (!server().draining || !isCurrent()) return
      await states.noteDrained(server())
    }).catch(error => { log.warn({ server: server().alias, err: error }, 'could not say whether the server is empty') })
  }

  const monitor = createServerMonitor({
    server,
    client: { ...client, readJson: readAndNote },
    states: {
      ...states,
      async writeInventory (...what) {
        await states.writeInventory(...what)
        settle(feed.forgetClasses(), 'could not ask again what the server can run')
      }
    },
    log,
    ...(dependencies.intervals === undefined ? {} : { intervals: dependencies.intervals }),
    watch: onGone => starts.watch(new URL(server().address.baseUrl), onGone),
    isIdle: () => runningJobs === 0 && starts.isWatched(new URL(server().address.baseUrl)),
    async onUsable (usable) {
      if (!usable) {
        options.restarted()
        feed.restarted()
      }
      await setQueue(usable)
    }
  })
  /** The monitor reads the options at each look anyway; during a generation they say nothing. */
  async function readAndNote (...call: Parameters<typeof client.readJson>): Promise<unknown> {
    const generations = options.generations()
    const answer = await client.readJson(...call)
    if (call[0] !== '/sdapi/v1/options' || options.generations() !== generations || checkHolds()) return answer
    options.observe(fieldsOf(answer))
    restoreSoon()
    return answer
  }

  const leaving = new AbortController()
  let restoreTimer: NodeJS.Timeout | undefined
  let runningJobs = 0
  let onIdle = () => {}
  let abandoned = false

  /** Once no job is left, the server gets back the options that jobs have changed. */
  function restoreSoon (): void {
    clearTimeout(restoreTimer)
    restoreTimer = setTimeout(() => { settle(restore(), 'could not restore the options of the server') }, restoreAfter)
  }

  async function restore (): Promise<void> {
    if (runningJobs > 0 || retiring || leaving.signal.aborted || !isCurrent() || checkHolds()) return
    if (!options.hasLeft('idle') || !monitor.usable()) return await options.save()
    if (mayBegin(true) && (feed.hasMore() || await store.waitingOn(serverId) > 0)) return
    const leaveSlot = await sendSlot.enter(leaving.signal).catch(() => null)
    if (leaveSlot === null) return
    try {
      if (isCurrent()) await options.putBack(leaving.signal)
    } finally {
      leaveSlot()
    }
  }
  const feed = await createServerFeed({
    server,
    claims,
    registry,
    states,
    fence,
    open: () => isCurrent() && !leaving.signal.aborted && mayBegin(monitor.usable()),
    selection: () => options.selection(),
    onExpected: () => { expectNext() },
    onClaimed: job => { runEarly({ jobId: job.id, run: job.run }) },
    log
  })

  // Orphans are stopped before the first look; how they are recognised depends on the kind of server.
  const { runner, options, tasks, learning } = await createServerRunner(dependencies, {
    client, connection: processConnection, monitor, feed, sendSlot, mayBegin: () => mayBegin(monitor.usable())
  })

  function settle (work: Promise<unknown>, sentence: string): void {
    work.catch(error => { log.error({ server: server().alias, err: error }, sentence) })
  }

  async function run (entry: GenerationData): Promise<RunOutcome> {
    const release = held.add(entry)
    runningJobs++
    return await runner.run(entry).finally(() => {
      runningJobs--
      if (runningJobs === 0) onIdle()
      release()
      restoreSoon()
      drain()
    })
  }

  /** Waits for the running generation, and nothing is claimed meanwhile: so not without need. */
  function clear (...lost: Parameters<GenerationRunner['clear']>): void {
    if (lost.every(jobs => jobs.length === 0)) return
    settle(feed.holdDuring(runner.clear(...lost)), 'could not stop what a lost worker had begun')
  }

  const repairEvery = dependencies.intervals?.repair ?? repairInterval
  let repairDueAt = performance.now() + repairEvery
  let lookDueAt = 0
  let repairing = false

  async function runRepairs (): Promise<void> {
    const looksDue = performance.now() >= lookDueAt
    const repairsDue = performance.now() >= repairDueAt
    if (looksDue) lookDueAt = performance.now() + lookInterval
    if (looksDue || checkHolds()) lookAtChecks()
    if (looksDue || repairsDue) await Promise.all([feed.adopt(), looksDue ? feed.forgetClasses() : null])
    if (!repairsDue) return
    repairDueAt = performance.now() + repairEvery
    // Also undoes what a former holder of the lease did to the queue after its own connection was back.
    await setQueue(monitor.usable())
    await queues.unlimit(serverId)
    clear(await repair.takeBack(), [])
    await repair.renewEntries()
  }

  clear(orphans, possiblySent)
  const { store: checkStore, connect: connectForChecks, limits: checkLimits } = dependencies.checks
  const checks = await serveChecks({
    server,
    store: checkStore,
    client,
    calls: connectForChecks(server()),
    sendSlot,
    fence,
    holdsLease,
    usable: monitor.usable,
    async lookNow () {
      const { reachable, lastError } = await monitor.check()
      return reachable === 'yes' ? null : lastError ?? 'it does not answer'
    },
    traits: monitor.traits,
    redisVersion: async () => await versionOf(connection).catch(() => null),
    tasks,
    learning,
    setQueue: async () => { await setQueue(monitor.usable()) },
    ...(checkLimits === undefined ? {} : { limits: checkLimits }),
    log
  })
  checkHolds = checks.holds
  lookAtChecks = checks.look
  const exclusiveCalls = await grantExclusiveCalls({
    calls: createExclusiveCallQueue(connection, keys, serverId), sendSlot, log, open: () => mayBegin(monitor.usable())
  })
  lookAtExclusiveCalls = exclusiveCalls.look
  const worker = createGenerationWorker({ serverId, connection, keys, run, log })
  runEarly = worker.runEarly
  expectNext = () => { runner.expect(null) }
  settle(repair.renewEntries(), 'could not repair the queue')
  settle(monitor.check(), 'could not check the server')

  return {
    cancel: runner.cancel,
    expect (job) { if (runningJobs === 0 && isCurrent() && mayBegin(monitor.usable())) runner.expect(job) },
    reload: monitor.reload,
    updateQueue () { settle(setQueue(monitor.usable()), 'could not pause or resume the queue') },
    lookAtExclusiveCalls: exclusiveCalls.look,
    lookAtPool: feed.entered,
    given: feed.given,
    taken: feed.taken,
    doubt () {
      feed.doubt()
      feed.look()
    },
    forgetClasses () { settle(feed.forgetClasses(), 'could not ask again what the server can run') },
    lookAtChecks: checks.look,
    repair () {
      if (repairing) return
      repairing = true
      settle(runRepairs().finally(() => { repairing = false }), 'could not repair the queue')
    },
    repairSoon () { repairDueAt = 0 },
    async retire () {
      if (checkHolds()) return false
      retiring = true
      // Without the pause, what is fetched returns by itself.
      await setQueue(monitor.usable()).catch(() => undefined)
      // A call that is no job, or the server's own options that are put back, come to their end first.
      const leaveSlot = await sendSlot.enter(leaving.signal).catch(() => null)
      leaveSlot?.()
      const givingUp = setInterval(() => { if (storage.hasLasted()) runner.giveUpImages() }, giveUpInterval)
      if (runningJobs > 0) await new Promise<void>(resolve => { onIdle = resolve })
      clearInterval(givingUp)
      if (!checkHolds()) return true
      retiring = false
      repairDueAt = 0
      return false
    },
    async drain () {
      leaving.abort()
      feed.close()
      exclusiveCalls.close()
      checks.cancel()
      await Promise.all([runner.stop(), feed.giveBack()])
    },
    abandon () {
      abandoned = true
      leaving.abort()
      feed.close()
      exclusiveCalls.close()
      checks.abandon()
      runner.abandon()
    },
    async close (deadlineMs) {
      leaving.abort()
      feed.close()
      clearTimeout(restoreTimer)
      exclusiveCalls.close()
      await Promise.all([worker.close(deadlineMs), checks.close(deadlineMs)])
      if (!abandoned) await options.save().catch(() => { /* Redis is away; the next holder reads the options again */ })
      await monitor.close()
      await feed.learnt()
      processConnection.close()
      await client.close()
    }
  }
}
