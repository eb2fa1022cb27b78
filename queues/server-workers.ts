import type { Redis } from 'ioredis'
import type { RuntimeSettings } from '../src/config/runtime-settings.ts'
import type { ComingJobs } from '../src/jobs/coming-jobs.ts'
import { repeatEach } from '../src/lib/beat.ts'
import {
  answeredSoon, createRenewal, createSpread, type LeaseStore, type Renewal, type WorkerRoster
} from '../src/servers/lease.ts'
import { sameAddress, type Server, type ServerRegistry } from '../src/servers/registry.ts'
import { clearDisabled, startWaitingRepair } from './queue-repair.ts'
import { type ServerWorker, type ServerWorkerDependencies, startServerWorker } from './server-worker.ts'

/** How long a lease outlives its holder, and how often to renew or try it, in milliseconds. */
const leaseLifetime = 4000
const leaseInterval = 1000
/** A process that was cut off itself must not take a lease for finished that was only not renewed during the cut. */
const graceAfterReconnect = 3000
/** Notices can get lost, so servers and settings are read again this often, in seconds. */
const reconcileSeconds = 10
/** How long the worker of a server that was removed, disabled or moved has to stop, in milliseconds. */
const removalDeadline = 5000
/** How often to check whether this process reaches a server that it should take over, in milliseconds. */
const reachInterval = 5000
/** How long a process that could not serve a server does not ask for it, in milliseconds. */
const afterFailedStart = 60_000

/** The lease of one server: this process tries for it, and has a worker for the server while it holds it. */
interface ServerLease {
  /** Null while this process does not hold the lease. */
  worker (): ServerWorker | null
  /** Whether this process should get the server from the present holder of the lease: it reaches the server. */
  asks (): boolean
  /** Renews the lease, or tries for it. To be called each second, for all servers in one turn. */
  tick (): void
  /** Another process has handed the lease over. */
  tryNow (): void
  /** The connection to Redis is back after an outage. */
  reconnected (): void
  /** Puts running generations back into the queue, then releases the lease. */
  close (deadlineMs: number): Promise<void>
}

interface ServerLeaseDependencies extends Omit<ServerWorkerDependencies, 'server' | 'fence' | 'holdsLease' | 'isSure'> {
  readonly leases: LeaseStore
  /** Whether this process can connect to a server. Tells other processes nothing of the result. */
  readonly reaches: (server: Server) => Promise<boolean>
  /** The other live worker that should serve a server and asks for it, as the holder of its lease; or null. */
  readonly heirOf: (serverId: string) => string | null
  /** Whether both connections to Redis are open: for commands and for notices. */
  readonly isConnected: () => boolean
}

/** @param released resolves when this process has left the server that it served before, whose jobs are no orphans */
function holdLease (
  server: () => Server, dependencies: ServerLeaseDependencies, released: Promise<unknown>
): ServerLease {
  const { leases, reaches, heirOf, isConnected, connection, keys, log } = dependencies
  const serverId = server().id
  let fence: number | null = null
  let renewed: Renewal | null = null
  let worker: ServerWorker | null = null
  let handingOver = false
  let isReached = false
  let reachDueAt = -Infinity
  let failedUntil = -Infinity
  /** A worker starts only after the one before it has stopped. */
  let steps: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let isTrying = true
  let closed = false
  let reconnectedAt = -Infinity

  function logFailure (work: Promise<unknown>, sentence: string): void {
    work.catch(error => { log.error({ server: server().alias, err: error }, sentence) })
  }

  function enqueue (step: () => Promise<void>, sentence: string): void {
    steps = steps.then(step)
    logFailure(steps, sentence)
    steps = steps.catch(() => undefined)
  }

  /**
   * Asks Redis each time: this process, or its machine, can have been frozen since it renewed the lease, and no clock
   * of its own has to show that.
   * @throws Error if Redis does not answer
   */
  async function holds (ownFence: number): Promise<boolean> {
    if (fence !== ownFence) return false
    return await answeredSoon(leases.isHeld(serverId, ownFence))
  }

  async function start (ownFence: number): Promise<void> {
    const isCurrent = () => !closed && fence === ownFence
    if (!isCurrent()) return
    try {
      const started = await startServerWorker({
        ...dependencies,
        server,
        fence: ownFence,
        holdsLease: async () => await holds(ownFence),
        isSure: () => fence === ownFence && renewed?.isFresh(leaseLifetime) === true && isConnected()
      }, isCurrent)
      if (isCurrent()) worker = started
      else await started.close(leaseLifetime)
    } catch (error) {
      failedUntil = performance.now() + afterFailedStart
      // Released, so that this process or another can try again.
      if (fence === ownFence) fence = null
      await leases.release(serverId)
      throw error
    }
  }

  async function stop (deadlineMs: number): Promise<void> {
    const stopping = worker
    worker = null
    await stopping?.close(deadlineMs)
  }

  /** Moves the server to another process between two jobs: nothing runs here and nothing begins. */
  async function handOver (ownFence: number): Promise<void> {
    const isCurrent = () => !closed && fence === ownFence
    if (!isCurrent() || worker === null || !await worker.retire() || !isCurrent()) return
    await stop(leaseLifetime).catch(error => { log.warn({ server: server().alias, err: error }, 'could not stop serving in order') })
    if (!isCurrent()) return
    const heir = heirOf(serverId)
    if (heir === null) {
      log.info({ server: server().alias }, 'the process that this server should move to is gone; it stays here')
      return await start(ownFence)
    }
    fence = null
    await leases.release(serverId, heir)
    await connection.publish(keys.channel('leases'), serverId)
    log.info({ server: server().alias }, 'another process serves this server from now on, as each serves its share')
  }

  function handOverSoon (ownFence: number): void {
    if (handingOver || worker === null || heirOf(serverId) === null) return
    handingOver = true
    enqueue(async () => {
      await handOver(ownFence).finally(() => { handingOver = false })
    }, 'could not hand the server over')
  }

  /** @returns milliseconds until the next time */
  async function acquireOrRenew (): Promise<number> {
    const ownFence = fence
    const sent = createRenewal()
    if (ownFence === null) {
      // It gets the lease first: otherwise the server would move twice.
      if (heirOf(serverId) !== null) return leaseInterval
      const grace = reconnectedAt + graceAfterReconnect - performance.now()
      if (grace > 0) return Math.min(grace, leaseInterval)
      const answer = await leases.acquire(serverId, leaseLifetime)
      // Not a whole interval after it expires: a dead holder's jobs wait for this.
      if (answer.kind === 'held') return Math.min(answer.remainingMs + 1, leaseInterval)
      fence = answer.fence
      renewed = sent
      enqueue(async () => { await start(answer.fence) }, 'could not start serving')
    } else if (await leases.renew(serverId, ownFence, leaseLifetime)) {
      renewed = sent
      worker?.repair()
      handOverSoon(ownFence)
    } else if (fence === ownFence) {
      log.warn({ server: server().alias }, 'another process serves this server now')
      fence = null
      worker?.abandon()
      enqueue(async () => { await stop(leaseLifetime) }, 'could not stop serving')
    }
    return leaseInterval
  }

  function tick (): void {
    clearTimeout(timer)
    if (closed || isTrying) return
    isTrying = true
    acquireOrRenew()
      .catch(error => {
        log.debug({ server: server().alias, err: error }, 'could not acquire or renew the lease')
        return leaseInterval
      })
      .then(wait => {
        isTrying = false
        if (!closed && wait < leaseInterval) timer = setTimeout(tick, wait)
      })
  }
  released.catch(() => undefined).then(() => {
    isTrying = false
    tick()
  })

  async function release (deadlineMs: number): Promise<void> {
    // Running generations are stopped even while a step waits for a Redis that is away.
    await Promise.all([worker?.drain(), steps.then(async () => { await stop(deadlineMs) })])
    if (fence !== null) await leases.release(serverId)
  }

  function lookWhetherReached (): void {
    if (performance.now() < reachDueAt) return
    reachDueAt = Infinity
    reaches(server()).catch(() => false).then(is => {
      isReached = is
      reachDueAt = performance.now() + reachInterval
    })
  }

  return {
    worker: () => worker,
    asks () {
      if (fence !== null || closed || performance.now() < failedUntil) return false
      lookWhetherReached()
      return isReached
    },
    tick,
    tryNow () { if (fence === null) tick() },
    reconnected () {
      reconnectedAt = performance.now()
      worker?.repairSoon()
    },
    async close (deadlineMs) {
      closed = true
      clearTimeout(timer)
      const releasing = release(deadlineMs)
      logFailure(releasing, 'could not stop serving in order')
      let deadline: NodeJS.Timeout | undefined
      // Without Redis some of it never ends; the lease then expires by itself.
      await Promise.race([
        releasing.catch(() => undefined),
        new Promise<void>(resolve => { deadline = setTimeout(resolve, deadlineMs) })
      ])
      clearTimeout(deadline)
    }
  }
}

/** The servers that this process serves, or serves as soon as it gets their leases. */
export interface ServerWorkers {
  /** Whether this process takes jobs of the server. */
  serves (serverId: string): boolean
  /** Stops what runs, puts it back into the queue and lets other processes take over. */
  close (deadlineMs: number): Promise<void>
}

export interface ServerWorkersDependencies extends Omit<ServerLeaseDependencies, 'processes' | 'heirOf' | 'isConnected'> {
  readonly registry: ServerRegistry
  /** The processes among which the servers are spread. */
  readonly roster: WorkerRoster
  readonly runtime: RuntimeSettings
  /** Jobs that this process is about to create. */
  readonly coming: Pick<ComingJobs, 'onComing'>
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
}

/** Follows the registry: each enabled server has a worker in one of the processes that run this. */
export async function startServerWorkers (dependencies: ServerWorkersDependencies): Promise<ServerWorkers> {
  const { registry, runtime, roster, connection, subscriber, keys, storage, coming, limits, log } = dependencies
  const isConnected = () => connection.status === 'ready' && subscriber.status === 'ready'
  const enabled = new Map<string, { server: Server, readonly lease: ServerLease }>()
  const spread = createSpread({
    roster,
    isFit: storage.isFit,
    servers: () => [...enabled.keys()],
    asks: serverId => enabled.get(serverId)?.lease.asks() === true,
    log
  })
  const { heirOf } = spread
  const parts = { ...dependencies, processes: () => runtime.current().queueProcessing, heirOf, isConnected }
  /** By server. */
  const closing = new Map<string, Promise<void>>()

  const workers = () => [...enabled.values()].flatMap(({ lease }) => lease.worker() ?? [])
  const workerOf = (serverId: string) => enabled.get(serverId)?.lease.worker()

  function add (server: Server): void {
    const { id } = server
    const released = closing.get(id) ?? Promise.resolve()
    enabled.set(id, { server, lease: holdLease(() => enabled.get(id)?.server ?? server, parts, released) })
  }

  /** What fails is in the log already. */
  function remove (serverId: string, deadlineMs: number): void {
    const found = enabled.get(serverId)
    if (found === undefined) return
    enabled.delete(serverId)
    // A lease that is closed before it was tried for still waits for the one before.
    const before = closing.get(serverId)
    const removal = Promise.all([before, found.lease.close(deadlineMs)]).then(() => {}).finally(() => {
      if (closing.get(serverId) === removal) closing.delete(serverId)
    })
    closing.set(serverId, removal)
  }

  function reconcile (): void {
    const wanted = new Map(registry.list().filter(server => server.enabled).map(server => [server.id, server]))
    for (const [serverId, { server: before }] of enabled) {
      const now = wanted.get(serverId)
      if (now === undefined || !sameAddress(before.address, now.address)) remove(serverId, removalDeadline)
    }
    for (const server of wanted.values()) {
      const found = enabled.get(server.id)
      if (found === undefined) {
        add(server)
      } else {
        found.server = server
        found.lease.worker()?.updateQueue()
      }
    }
  }

  /** Jobs that a server had when it was disabled, if no process was there to return them. */
  async function clearAllDisabled (): Promise<void> {
    const disabled = registry.list().filter(({ id, enabled: isEnabled }) => !isEnabled && !closing.has(id))
    await clearDisabled(disabled, { ...dependencies, maxAttempts: limits.attempts })
  }

  function updateQueues (): void {
    for (const worker of workers()) worker.updateQueue()
  }

  const handlers = new Map<string, (message: string) => void>([
    [keys.channel('cancel'), jobId => { for (const worker of workers()) worker.cancel(jobId) }],
    [keys.channel('given'), text => { workerOf(text.split(' ', 1)[0] ?? '')?.given(text) }],
    [keys.channel('taken'), name => { for (const worker of workers()) worker.taken(name) }],
    [keys.channel('leases'), serverId => { enabled.get(serverId)?.lease.tryNow() }],
    [keys.channel('pool'), classId => { for (const worker of workers()) worker.lookAtPool(classId) }],
    [keys.channel('checks'), serverId => { workerOf(serverId)?.lookAtChecks() }],
    [keys.channel('servers'), serverId => {
      registry.refresh()
        .then(() => {
          workerOf(serverId)?.reload()
          for (const worker of workers()) worker.forgetClasses()
        })
        .catch(error => { log.warn({ err: error }, 'could not read the servers') })
    }],
    [keys.channel('settings'), () => {
      runtime.refresh().catch(error => { log.warn({ err: error }, 'could not read the settings') })
    }],
    [keys.channel('turns'), serverId => { workerOf(serverId)?.lookAtExclusiveCalls() }]
  ])

  function onMessage (channel: string, message: string): void {
    handlers.get(channel)?.(message)
  }

  /** One listener for all: Node warns of a leak at the eleventh listener of a connection. */
  function onReady (): void {
    for (const { lease } of enabled.values()) lease.reconnected()
  }

  function onSubscriberReady (): void {
    for (const worker of workers()) worker.doubt()
  }

  connection.on('ready', onReady)
  subscriber.on('ready', onSubscriberReady)
  subscriber.on('message', onMessage)
  await subscriber.subscribe(...handlers.keys())
  const unsubscribe = [
    registry.onChange(reconcile),
    runtime.onChange(updateQueues),
    storage.onChange(updateQueues),
    coming.onComing((serverId, job) => { workerOf(serverId)?.expect(job) })
  ]
  const waitingRepair = startWaitingRepair(dependencies)
  await Promise.all([registry.refresh(), runtime.refresh()])
  reconcile()
  clearAllDisabled()
  spread.again()
  const stopBeats = [
    repeatEach(leaseInterval / 1000, () => {
      for (const { lease } of enabled.values()) lease.tick()
      spread.again()
    }),
    repeatEach(reconcileSeconds, () => {
      Promise.all([registry.refresh(), runtime.refresh(), clearAllDisabled()])
        .catch(error => { log.debug({ err: error }, 'could not read servers and settings') })
    })
  ]

  return {
    serves: serverId => workerOf(serverId) != null,
    async close (deadlineMs) {
      for (const stop of stopBeats) stop()
      // Its servers are free for the others at once; without Redis its announcement ends by itself.
      roster.leave().catch(() => undefined)
      waitingRepair.close()
      for (const stop of unsubscribe) stop()
      connection.off('ready', onReady)
      subscriber.off('ready', onSubscriberReady)
      subscriber.off('message', onMessage)
      for (const serverId of [...enabled.keys()]) remove(serverId, deadlineMs)
      await Promise.all(closing.values())
    }
  }
}
