import type { Redis } from 'ioredis'
import type { A1111Client } from '../src/a1111/client.ts'
import type { RawCalls } from '../src/a1111/raw-calls.ts'
import { createImageCheck } from '../src/jobs/check-images.ts'
import { createClaimer } from '../src/jobs/claimer.ts'
import type { JobClaims } from '../src/jobs/claims.ts'
import type { Job, JobSubmission } from '../src/jobs/job.ts'
import { createJudge } from '../src/jobs/judge-failure.ts'
import { prepareGeneration } from '../src/jobs/prepare-generation.ts'
import {
  createGenerationRunner, type GenerationRunner, type GenerationRunnerDependencies, type RunOutcome
} from '../src/jobs/run-generation.ts'
import type { PreviewSender } from '../src/jobs/send-previews.ts'
import type { JobStore } from '../src/jobs/store.ts'
import { createTaskKnowledge } from '../src/jobs/task-knowledge.ts'
import { shortCheckpoint, workloadOf } from '../src/jobs/workload.ts'
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
import { predictSeconds } from '../src/servers/cost-model.ts'
import type { Server, ServerRegistry } from '../src/servers/registry.ts'
import type { ServerStarts } from '../src/servers/start-guard.ts'
import type { ServerStateStore } from '../src/servers/state-store.ts'
import { createGenerationWorker, type GenerationData, type GenerationQueues } from './generation-queue.ts'
import { createHeldEntries, createQueueRepair } from './queue-repair.ts'

/** How often the whole queue is compared with the records, in milliseconds. */
const repairInterval = 30_000
/** How often checks of the server are looked for, as their notices can get lost, in milliseconds. */
const checksInterval = 10_000
/** A generation by which servers are compared: 20 steps of 512x512. */
const ordinary = { evaluations: 20, megapixels: 5.24, checkpoint: '' }
/** How often the pool asks again what the server can run, in milliseconds: it also depends on other servers. */
const classesInterval = 10_000
/** From the end of the last job until the server's own options are restored, in milliseconds. */
const restoreAfter = 100

export interface ServerWorkerDependencies {
  readonly server: () => Server
  readonly connection: Redis
  readonly keys: Keys
  readonly queues: GenerationQueues
  readonly store: JobStore
  readonly claims: JobClaims
  readonly registry: Pick<ServerRegistry, 'list'>
  readonly previews: PreviewSender
  readonly media: MediaStore
  readonly storage: StorageCheck
  readonly collectImages: GenerationRunnerDependencies['collectImages']
  readonly states: ServerStateStore
  readonly log: Log
  /** Names this process among all that share Redis. */
  readonly processId: string
  /** Of its lease of the server. */
  readonly fence: number
  /** Whether this process holds that lease now. @throws Error if Redis does not answer */
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

/** Watches a server and runs its jobs, while this process holds the server's lease. */
export interface ServerWorker {
  readonly cancel: GenerationRunner['cancel']
  /** Looks at the server and reads its inventory now. */
  reload (): void
  /** Pauses or resumes the queue, after an operator did, or after a fault of storage came or went. */
  updateQueue (): void
  /** A call that is no job waits for the server, or is over. */
  lookAtExclusiveCalls (): void
  /** A job entered the pool. */
  lookAtPool (): void
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
    server, connection, keys, queues, store, claims, registry, media, storage, collectImages,
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
  await adopt()

  /** Processes of an earlier version bind jobs to this server; they can run beside this one. */
  async function adopt (): Promise<void> {
    const adopted = await claims.adopt(serverId, fence)
    if (adopted > 0) log.info({ server: server().alias, jobs: adopted }, 'jobs of an earlier version went into the pool')
  }

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

  /** The queue runs while the server can be used, its images can be stored, and no operator has paused it. */
  async function setQueue (usable: boolean): Promise<void> {
    if (!isCurrent()) return
    if (mayBegin(usable)) {
      await queues.resume(serverId)
      claimer.look()
    } else {
      await queues.pause(serverId)
      await claimer.giveBack()
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
        settle(claimer.forgetClasses(), 'could not ask again what the server can run')
      }
    },
    log,
    ...(dependencies.intervals === undefined ? {} : { intervals: dependencies.intervals }),
    watch: onGone => starts.watch(new URL(server().address.baseUrl), onGone),
    async onUsable (usable) {
      if (!usable) {
        options.restarted()
        loaded = ''
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
    if (mayBegin(true) && (claimer.hasMore() || await store.waitingOn(serverId) > 0)) return
    const leaveSlot = await sendSlot.enter(leaving.signal).catch(() => null)
    if (leaveSlot === null) return
    try {
      if (isCurrent()) await options.putBack(leaving.signal)
    } finally {
      leaveSlot()
    }
  }
  let model = await states.costs.read(serverId)
  /** The checkpoint that is loaded now, or by what runs. */
  let loaded = model.loaded
  /** When what runs is expected to be over, by the monotonic clock; null if unknown. */
  let freeAt: number | null = 0
  /** Generations of lost workers that are stopped now: until then nothing else can run. */
  let clearing = 0
  const ownCheckpoint = () => shortCheckpoint(options.selection())

  function onBegun ({ submission }: Job): void {
    const workload = workloadOf(submission)
    const seconds = predictSeconds(model, workload, loaded)
    freeAt = seconds === null ? null : performance.now() + seconds * 1000
    loaded = workload.checkpoint === '' ? ownCheckpoint() : workload.checkpoint
    claimer.look()
  }

  function onFree (): void {
    freeAt = 0
    claimer.look()
  }

  const claimer = createClaimer({
    server,
    claims,
    fence,
    open: () => isCurrent() && !leaving.signal.aborted && clearing === 0 && mayBegin(monitor.usable()),
    freeIn: () => freeAt === null ? null : Math.max(0, (freeAt - performance.now()) / 1000),
    isIdle: () => freeAt === 0,
    async facts () {
      const selection = options.selection()
      return {
        loaded,
        default: shortCheckpoint(selection),
        title: selection ?? '',
        loadSeconds: model.costs[3],
        speed: predictSeconds({ ...model, samples: 1 }, ordinary, '') ?? 0
      }
    },
    async fleet () {
      const servers = registry.list()
      const [known, inventories] = await Promise.all([
        states.readMany(servers.map(({ id }) => id)),
        Promise.all(servers.map(async ({ id }) => await states.inventory(id)))
      ])
      const fleet = servers.map((one, index) => ({
        server: one, state: known[index] ?? null, inventory: inventories[index] ?? null
      }))
      return {
        own: fleet.find(one => one.server.id === serverId) ?? { server: server(), state: null, inventory: null },
        others: fleet.filter(one => one.server.id !== serverId)
      }
    },
    log
  })
  // One after the other, as each starts from the result of the one before.
  let costs: Promise<void> = Promise.resolve()
  function learn (submission: JobSubmission, seconds: number): void {
    costs = costs.then(async () => { model = await states.costs.learn(serverId, workloadOf(submission), seconds) })
      .catch(error => { log.debug({ server: server().alias, err: error }, 'could not learn how long the job took') })
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
  // Orphans are stopped before the first look; how they are recognised depends on the kind of server.
  const tasks = createTaskKnowledge(client, learning, () => monitor.traits() ?? lastKnown)
  const options = await createOptionsKeeper({
    server,
    client,
    connection: processConnection,
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
    claimer,
    unclaim: async options => await claims.unclaim(serverId, options),
    onBegun,
    onFree,
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

  function clear (lost: ReadonlyArray<Pick<Job, 'id' | 'startedAt'>>): void {
    clearing++
    settle(runner.clear(lost).finally(() => {
      clearing--
      claimer.look()
    }), 'could not stop what a lost worker had begun')
  }

  let repairDueAt = performance.now() + repairInterval
  let checksDueAt = performance.now() + checksInterval
  let classesDueAt = performance.now() + classesInterval
  let repairing = false

  async function runRepairs (): Promise<void> {
    if (checkHolds() || performance.now() >= checksDueAt) {
      checksDueAt = performance.now() + checksInterval
      lookAtChecks()
    }
    if (performance.now() >= classesDueAt) {
      classesDueAt = performance.now() + classesInterval
      await claimer.forgetClasses()
    }
    if (await store.waitingOn(serverId) > 0) await adopt()
    claimer.look()
    if (performance.now() < repairDueAt) return
    repairDueAt = performance.now() + repairInterval
    // Also undoes what a former holder of the lease did to the queue after its own connection was back.
    await setQueue(monitor.usable())
    clear(await repair.takeBack())
    await repair.renewEntries()
  }

  clear(orphans)
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
  settle(repair.renewEntries(), 'could not repair the queue')
  settle(monitor.check(), 'could not check the server')

  return {
    cancel: runner.cancel,
    reload: monitor.reload,
    updateQueue () { settle(setQueue(monitor.usable()), 'could not pause or resume the queue') },
    lookAtExclusiveCalls: exclusiveCalls.look,
    lookAtPool: claimer.look,
    forgetClasses () { settle(claimer.forgetClasses(), 'could not ask again what the server can run') },
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
      if (runningJobs > 0) await new Promise<void>(resolve => { onIdle = resolve })
      if (!checkHolds()) return true
      retiring = false
      repairDueAt = 0
      return false
    },
    async drain () {
      leaving.abort()
      claimer.close()
      exclusiveCalls.close()
      checks.cancel()
      await Promise.all([runner.stop(), claimer.giveBack()])
    },
    abandon () {
      abandoned = true
      leaving.abort()
      claimer.close()
      exclusiveCalls.close()
      checks.abandon()
      runner.abandon()
    },
    async close (deadlineMs) {
      leaving.abort()
      claimer.close()
      clearTimeout(restoreTimer)
      exclusiveCalls.close()
      await Promise.all([worker.close(deadlineMs), checks.close(deadlineMs)])
      if (!abandoned) await options.save().catch(() => { /* Redis is away; the next holder reads the options again */ })
      await monitor.close()
      await costs
      processConnection.close()
      await client.close()
    }
  }
}
