import type { Redis } from 'ioredis'
import type { A1111Client } from '../src/a1111/client.ts'
import type { RawCalls } from '../src/a1111/raw-calls.ts'
import { createImageCheck } from '../src/jobs/check-images.ts'
import type { JobSubmission } from '../src/jobs/job.ts'
import { createJudge } from '../src/jobs/judge-failure.ts'
import { prepareGeneration } from '../src/jobs/prepare-generation.ts'
import {
  createGenerationRunner, type GenerationRunnerDependencies, type RunOutcome
} from '../src/jobs/run-generation.ts'
import type { PreviewSender } from '../src/jobs/send-previews.ts'
import type { JobStore } from '../src/jobs/store.ts'
import { createTaskKnowledge } from '../src/jobs/task-knowledge.ts'
import { workloadOf } from '../src/jobs/workload.ts'
import { fieldsOf } from '../src/lib/json-values.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import { createSemaphore } from '../src/lib/semaphore.ts'
import type { StorageCheck } from '../src/media/storage.ts'
import type { MediaStore } from '../src/media/store.ts'
import { versionOf } from '../src/redis/check.ts'
import type { CheckStore } from '../src/server-check/check-service.ts'
import { type CheckServerDependencies, serveChecks } from '../src/server-check/serve-checks.ts'
import { createExclusiveCallQueue, grantExclusiveCalls } from '../src/servers/exclusive-calls.ts'
import { createFreshLists } from '../src/servers/fresh-lists.ts'
import { createServerLearning } from '../src/servers/learned-traits.ts'
import { createServerMonitor, type MonitorIntervals } from '../src/servers/monitor.ts'
import { createProcessConnection } from '../src/servers/options-access.ts'
import { createOptionsKeeper } from '../src/servers/options-keeper.ts'
import type { Server } from '../src/servers/registry.ts'
import type { ServerStarts } from '../src/servers/start-guard.ts'
import type { ServerStateStore } from '../src/servers/state-store.ts'
import { shortenDelays } from './background-worker.ts'
import { createGenerationWorker, type GenerationData, type GenerationQueues } from './generation-queue.ts'
import { createHeldEntries, createQueueRepair } from './queue-repair.ts'

/** How often the whole line is held against its queue, in milliseconds. */
const repairInterval = 30_000
/** How often checks of the server are looked for, whose notice may have been lost, in milliseconds. */
const checksInterval = 10_000
/** How long nothing of ours runs at a server before what jobs have left there is put back, in milliseconds. */
const restAfter = 100

export interface ServerWorkerDependencies {
  readonly server: () => Server
  readonly connection: Redis
  readonly keys: Keys
  readonly queues: GenerationQueues
  readonly store: JobStore
  readonly previews: PreviewSender
  readonly media: MediaStore
  readonly storage: StorageCheck
  readonly collectImages: GenerationRunnerDependencies['collectImages']
  readonly states: ServerStateStore
  readonly log: Log
  /** Names this process among all that share the Redis. */
  readonly processId: string
  /** Of its lease of the server. */
  readonly fence: number
  /** Whether this process holds that lease at this moment. @throws Error where Redis does not say */
  readonly holdsLease: () => Promise<boolean>
  readonly connect: (server: Server) => A1111Client
  /** Thorough checks of servers, and how their requests are made. */
  readonly checks: {
    readonly store: CheckStore
    readonly connect: (server: Server) => RawCalls
    readonly limits?: CheckServerDependencies['limits']
  }
  readonly starts: Pick<ServerStarts, 'watch'>
  /** Whether an operator lets any server take jobs. */
  readonly processes: () => boolean
  readonly otherServer: GenerationRunnerDependencies['otherServer']
  readonly tagOutput: GenerationRunnerDependencies['tagOutput']
  readonly limits: GenerationRunnerDependencies['limits']
  readonly metrics: GenerationRunnerDependencies['metrics']
  readonly tracing: GenerationRunnerDependencies['tracing']
  readonly intervals?: MonitorIntervals
}

/** What exists while this process holds the lease of a server: it watches the server and runs its jobs. */
export interface ServerWorker {
  cancel (jobId: string): void
  checkNow (): void
  holdOrResume (): void
  /** A call that is no job wants its turn, or has had it. */
  seeToTurns (): void
  /** A thorough check of the server was asked for or cancelled. */
  seeToChecks (): void
  /**
   * Repairs what is due. To be called right after the lease was found to be held still, since to whoever lost it the
   * holder's jobs look like those of a dead worker.
   */
  tend (): void
  /** Redis was away: what its outage left undone is seen to next time. */
  repairSoon (): void
  /** Stops what runs and puts it back in line; fetched jobs are held back. */
  letGo (): Promise<void>
  /** The server is another process's now: drops everything without touching it. */
  abandon (): void
  close (deadlineMs: number): Promise<void>
}

/** @param current whether the lease is still held, which whoever lost it must not act upon */
export async function startServerWorker (
  dependencies: ServerWorkerDependencies, current: () => boolean
): Promise<ServerWorker> {
  const {
    server, connection, keys, queues, store, media, storage, collectImages,
    states, log, processId, fence, holdsLease, connect, starts, processes, previews, otherServer, limits, metrics,
    tracing, tagOutput
  } = dependencies
  const serverId = server().id
  const held = createHeldEntries()
  const lists = createFreshLists({ redis: connection, keys, states, connect: () => connect(server()), log })
  const repair = createQueueRepair({
    server, store, queues, log, fence, maxAttempts: limits.attempts, isHeld: held.has
  })
  await queues.pause(serverId)
  const orphans = await repair.takeBack()
  const client = connect(server())
  const line = createProcessConnection(client)

  // Nothing begins before it is known whether a check has left anything to be put back.
  let checkHolds = () => true
  const mayBegin = (usable: boolean) =>
    usable && !server().paused && processes() && storage.last() === null && !checkHolds()
  const sendSlot = createSemaphore(1)
  let lookAtTurns = () => {}
  let lookAtChecks = () => {}

  /** The line runs while the server can be used, what it makes can be stored, and no operator holds it. */
  async function setLine (usable: boolean): Promise<void> {
    if (!current()) return
    if (mayBegin(usable)) await queues.resume(serverId)
    else await queues.pause(serverId)
    lookAtTurns()
    lookAtChecks()
  }

  const monitor = createServerMonitor({
    server,
    client: { ...client, readJson: readAndNote },
    states,
    log,
    ...(dependencies.intervals === undefined ? {} : { intervals: dependencies.intervals }),
    watch: onGone => starts.watch(new URL(server().address.baseUrl), onGone),
    async onUsable (usable) {
      if (!usable) options.restarted()
      await setLine(usable)
    }
  })
  /** The monitor reads the options at each look anyway; across a generation they tell nothing. */
  async function readAndNote (...call: Parameters<typeof client.readJson>): Promise<unknown> {
    const generations = options.generations()
    const answer = await client.readJson(...call)
    if (call[0] !== '/sdapi/v1/options' || options.generations() !== generations || checkHolds()) return answer
    options.observe(fieldsOf(answer))
    restSoon()
    return answer
  }

  const leaving = new AbortController()
  let restTimer: NodeJS.Timeout | undefined
  let inHand = 0
  let abandoned = false

  /** Once no job is left, what jobs have left at the server is put back. */
  function restSoon (): void {
    clearTimeout(restTimer)
    restTimer = setTimeout(() => { settle(rest(), 'could not put back what jobs have left at the server') }, restAfter)
  }

  async function rest (): Promise<void> {
    if (inHand > 0 || leaving.signal.aborted || !current() || checkHolds()) return
    if (!options.hasLeft('idle') || !monitor.usable()) return await options.save()
    if (await store.waitingOn(serverId) > 0 && mayBegin(true)) return
    const openGate = await sendSlot.enter(leaving.signal).catch(() => null)
    if (openGate === null) return
    try {
      if (current()) await options.putBack(leaving.signal)
    } finally {
      openGate()
    }
  }
  // One after the other, as each goes on from what the one before has left.
  let costs: Promise<void> = Promise.resolve()
  function learn (submission: JobSubmission, seconds: number): void {
    costs = costs.then(async () => { await states.costs.learn(serverId, workloadOf(submission), seconds) })
      .catch(error => { log.debug({ server: server().alias, err: error }, 'what it took is not known') })
  }

  const lastKnown = await states.traits(serverId)
  const learning = await createServerLearning({
    store: states.learned,
    subject () {
      const traits = monitor.traits() ?? lastKnown
      return traits === null
        ? null
        : { id: serverId, baseUrl: server().address.baseUrl, kind: traits.simulates ?? traits.kind }
    },
    log
  })
  // Orphans are seen to before the first look; what they are recognised by depends on the kind of server.
  const tasks = createTaskKnowledge(client, learning, () => monitor.traits() ?? lastKnown)
  const options = await createOptionsKeeper({
    server,
    client,
    line,
    store: states.options,
    inventory: async () => await states.inventory(serverId),
    traits: monitor.traits,
    learned: learning.now,
    log
  })
  const runner = createGenerationRunner({
    server,
    client,
    tasks,
    marks: states.marks,
    monitor,
    options,
    mayBegin: () => mayBegin(monitor.usable()),
    onMeasured: learn,
    judge: createJudge({
      alias: () => server().alias,
      tasks,
      monitor,
      onMeasured: learn,
      checkedLimit: {
        seconds: () => learning.now().timeLimitSeconds,
        raised (seconds) { learning.note({ timeLimitSeconds: null, timePassedSeconds: Math.round(seconds * 10) / 10 }) }
      }
    }),
    previews,
    store,
    storage,
    collectImages,
    checkImages: createImageCheck(media, log),
    log,
    limits,
    sendSlot,
    metrics,
    tracing,
    processId,
    fence,
    holdsLease,
    otherServer,
    tagOutput,
    prepare: job => prepareGeneration(job, {
      media,
      checkCompatibility: async (request, onMissing) => await lists.checkCompatibility(server(), request, onMissing),
      traits: monitor.traits
    })
  })

  function settle (work: Promise<unknown>, sentence: string): void {
    work.catch(error => { log.error({ server: server().alias, err: error }, sentence) })
  }

  async function run (entry: GenerationData): Promise<RunOutcome> {
    const letGo = held.add(entry)
    inHand++
    return await runner.run(entry).finally(() => {
      inHand--
      letGo()
      restSoon()
    })
  }

  let repairDueAt = performance.now() + repairInterval
  let checksDueAt = performance.now() + checksInterval
  let tending = false

  async function tend (): Promise<void> {
    if (checkHolds() || performance.now() >= checksDueAt) {
      checksDueAt = performance.now() + checksInterval
      lookAtChecks()
    }
    await store.enterLate(serverId)
    await shortenDelays(queues.queue(serverId), connection)
    if (performance.now() < repairDueAt) return
    repairDueAt = performance.now() + repairInterval
    // Also undoes what a former holder did to the line after a cut of its own.
    await setLine(monitor.usable())
    settle(runner.clear(await repair.takeBack()), 'could not stop what a lost worker had begun')
    await repair.renewEntries()
  }

  settle(runner.clear(orphans), 'could not stop what a lost worker had begun')
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
    setLine: async () => { await setLine(monitor.usable()) },
    ...(checkLimits === undefined ? {} : { limits: checkLimits }),
    log
  })
  checkHolds = checks.holds
  lookAtChecks = checks.look
  const turns = await grantExclusiveCalls({
    line: createExclusiveCallQueue(connection, keys, serverId), sendSlot, log, open: () => mayBegin(monitor.usable())
  })
  lookAtTurns = turns.look
  const worker = createGenerationWorker({ serverId, connection, keys, run, log })
  settle(repair.renewEntries(), 'could not repair the queue')
  settle(monitor.check(), 'could not check the server')

  return {
    cancel: runner.cancel,
    checkNow () {
      monitor.readAnew()
    },
    seeToTurns () { turns.look() },
    seeToChecks () { checks.look() },
    holdOrResume () { settle(setLine(monitor.usable()), 'could not pause or resume the queue') },
    tend () {
      if (tending) return
      tending = true
      settle(tend().finally(() => { tending = false }), 'could not repair the queue')
    },
    repairSoon () { repairDueAt = 0 },
    async letGo () {
      leaving.abort()
      turns.close()
      checks.letGo()
      await runner.stop()
    },
    abandon () {
      abandoned = true
      leaving.abort()
      turns.close()
      checks.abandon()
      runner.abandon()
    },
    async close (deadlineMs) {
      leaving.abort()
      clearTimeout(restTimer)
      turns.close()
      await Promise.all([worker.close(deadlineMs), checks.close(deadlineMs)])
      if (!abandoned) await options.save().catch(() => { /* Redis is away; all of it is looked at again */ })
      await monitor.close()
      await costs
      line.close()
      await client.close()
    }
  }
}
