import type { Redis } from 'ioredis'
import type { A1111Client } from '../src/a1111/client.ts'
import { messageOf } from '../src/errors.ts'
import { createGate } from '../src/jobs/gate.ts'
import { prepareGeneration } from '../src/jobs/prepare-generation.ts'
import {
  createGenerationRunner, type GenerationRunner, type GenerationRunnerDependencies, type RunOutcome
} from '../src/jobs/run-generation.ts'
import type { JobStore } from '../src/jobs/store.ts'
import type { Log } from '../src/log.ts'
import type { MediaStore } from '../src/media/store.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { LeaseStore } from '../src/servers/lease.ts'
import { createServerMonitor, type MonitorIntervals, type ServerMonitor } from '../src/servers/monitor.ts'
import type { Server } from '../src/servers/server.ts'
import type { ServerStateStore } from '../src/servers/state-store.ts'
import type { GenerationData, GenerationQueues } from './generation-queues.ts'
import { createGenerationWorker, type GenerationWorker } from './generation-worker.ts'
import { repairLine, takeOverLine } from './line-repair.ts'

/** How long a lease outlives its holder, and how often it is renewed or tried for, in milliseconds. */
const leaseLifetime = 4000
const leaseInterval = 1000
/** A process that was cut off itself must not take a lease for ended that was only not renewed through the cut. */
const graceAfterReconnect = 3000
const repairInterval = 30_000

export interface AttendanceDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly queues: GenerationQueues
  readonly store: JobStore
  readonly media: MediaStore
  readonly states: ServerStateStore
  readonly leases: LeaseStore
  readonly log: Log
  /** Names this process among all that share the Redis. */
  readonly processId: string
  readonly connect: (server: Server) => A1111Client
  readonly limits: GenerationRunnerDependencies['limits']
  readonly intervals?: MonitorIntervals
}

/** The care of one server by one process. */
export interface Attendance {
  cancel (jobId: string): void
  /** Looks at the server and its inventory now, if this process serves it. */
  checkNow (): void
  /** An operator paused or resumed the server. */
  holdOrResume (): void
  /** Whether this process holds the lease and takes jobs. */
  serving (): boolean
  /** Orderly: running generations are stopped and put back in line. */
  close (deadlineMs: number): Promise<void>
}

/** What exists while the lease is held. */
interface Service {
  readonly client: A1111Client
  readonly monitor: ServerMonitor
  readonly runner: GenerationRunner
  readonly worker: GenerationWorker
  readonly repairs: NodeJS.Timeout
}

/** Tries for a server's lease and, while it holds it, watches the server and runs its jobs. */
export function attend (server: () => Server, dependencies: AttendanceDependencies): Attendance {
  const { connection, keys, queues, store, media, states, leases, log, processId, connect, limits } = dependencies
  const serverId = server().id
  let fence: number | null = null
  let service: Service | null = null
  /** One step of beginning or ending at a time. */
  let steps: Promise<void> = Promise.resolve()
  let trying = false
  let closed = false
  let reconnectedAt = 0
  const onReady = () => { reconnectedAt = Date.now() }
  connection.on('ready', onReady)

  const settle = (work: Promise<unknown>, sentence: string) => {
    work.catch(error => { log.error({ server: server().alias, error: messageOf(error) }, sentence) })
  }
  const step = (work: () => Promise<void>, sentence: string) => {
    steps = steps.then(work)
    settle(steps, sentence)
    steps = steps.catch(() => undefined)
  }

  /** The line runs while the server can be used and no operator holds it. */
  async function setLine (usable: boolean): Promise<void> {
    if (usable && !server().paused) await queues.resume(serverId)
    else await queues.pause(serverId)
  }

  async function begin (ownFence: number): Promise<void> {
    if (closed || fence !== ownFence) return
    await queues.pause(serverId)
    const repair = { server: server(), store, queues, log }
    await takeOverLine(repair)
    const client = connect(server())
    const held = new Set<string>()
    const monitor = createServerMonitor({
      server,
      client,
      states,
      log,
      ...(dependencies.intervals === undefined ? {} : { intervals: dependencies.intervals }),
      onUsable: setLine
    })
    const runner = createGenerationRunner({
      server,
      client,
      monitor,
      store,
      media,
      log,
      limits,
      gate: createGate(),
      owner: `${processId}:${ownFence}`,
      prepare: job => prepareGeneration(job, {
        media, inventory: () => states.inventory(serverId), traits: monitor.traits
      })
    })
    async function run (entry: GenerationData): Promise<RunOutcome> {
      held.add(entry.jobId)
      return await runner.run(entry).finally(() => { held.delete(entry.jobId) })
    }
    service = {
      client,
      monitor,
      runner,
      worker: createGenerationWorker({ serverId, connection, keys, run, log }),
      repairs: setInterval(() => {
        settle(repairLine(repair, jobId => held.has(jobId)), 'could not repair the line')
      }, repairInterval)
    }
    settle(monitor.check(), 'could not check the server')
  }

  async function end (deadlineMs: number): Promise<void> {
    if (service === null) return
    const { repairs, worker, monitor, client } = service
    service = null
    clearInterval(repairs)
    await worker.close(deadlineMs)
    await monitor.close()
    await client.close()
  }

  async function seeToLease (): Promise<void> {
    if (fence === null) {
      if (reconnectedAt > 0 && Date.now() - reconnectedAt < graceAfterReconnect) return
      const taken = fence = await leases.acquire(serverId, processId, leaseLifetime)
      if (taken !== null) step(() => begin(taken), 'could not begin to serve')
    } else if (!await leases.renew(serverId, processId, fence, leaseLifetime)) {
      log.warn({ server: server().alias }, 'another process serves this server now')
      fence = null
      service?.runner.abandon()
      step(() => end(leaseLifetime), 'could not end serving')
    }
  }

  function tick (): void {
    if (trying || closed) return
    trying = true
    seeToLease()
      .catch(error => { log.debug({ server: server().alias, error: messageOf(error) }, 'could not see to the lease') })
      .finally(() => { trying = false })
  }

  const timer = setInterval(tick, leaseInterval)
  tick()

  return {
    cancel (jobId) { service?.runner.cancel(jobId) },
    checkNow () {
      if (service === null) return
      service.monitor.expectNewInventory()
      settle(service.monitor.check(), 'could not check the server')
    },
    holdOrResume () {
      if (service !== null) settle(setLine(service.monitor.usable()), 'could not hold or resume the line')
    },
    serving: () => service !== null,
    async close (deadlineMs) {
      closed = true
      clearInterval(timer)
      connection.off('ready', onReady)
      await steps
      await Promise.all([service?.runner.stop(), end(deadlineMs)])
      if (fence !== null) await leases.release(serverId, processId).catch(() => undefined)
    }
  }
}
