import type { Redis } from 'ioredis'
import type { RuntimeSettings } from '../src/config/runtime-settings.ts'
import { withDeadline } from '../src/lib/deadline.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { LeaseStore } from '../src/servers/lease.ts'
import { sameAddress, type Server, type ServerRegistry } from '../src/servers/registry.ts'
import { type ServerWorker, type ServerWorkerDependencies, startServerWorker } from './server-worker.ts'

/** How long a lease outlives its holder, and how often it is renewed or tried for, in milliseconds. */
const leaseLifetime = 4000
const leaseInterval = 1000
/** How long Redis is asked whether the lease is still held, in milliseconds. */
const askPatience = 1000
/** A process that was cut off itself must not take a lease for ended that was only not renewed through the cut. */
const graceAfterReconnect = 3000

interface AttendanceDependencies extends Omit<ServerWorkerDependencies, 'server' | 'fence' | 'holdsLease'> {
  readonly leases: LeaseStore
  readonly connection: Redis
}

/** The care of one server by one process. */
interface Attendance {
  cancel (jobId: string): void
  /** Looks at the server and its inventory now, if this process serves it. */
  checkNow (): void
  /** An operator paused or resumed the server. */
  holdOrResume (): void
  /** The connection to Redis is back after an outage. */
  reconnected (): void
  /** A call that is no job wants its turn at the server, or has had it. */
  seeToTurns (): void
  /** A thorough check of the server was asked for or cancelled. */
  seeToChecks (): void
  /** Whether this process holds the lease and takes jobs. */
  serving (): boolean
  /** Orderly: running generations are stopped and put back in line. */
  close (deadlineMs: number): Promise<void>
}

/**
 * Tries for a server's lease and serves the server while it holds it.
 * @param freed resolves when this process is done with what it served there before, whose jobs are not orphans
 */
function attend (
  server: () => Server, dependencies: AttendanceDependencies, freed: Promise<unknown>
): Attendance {
  const { leases, log } = dependencies
  const serverId = server().id
  let fence: number | null = null
  let serving: ServerWorker | null = null
  /** One step of beginning or ending at a time. */
  let steps: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let reconnectedAt = -Infinity

  function settle (work: Promise<unknown>, sentence: string): void {
    work.catch(error => { log.error({ server: server().alias, err: error }, sentence) })
  }

  function step (work: () => Promise<void>, sentence: string): void {
    steps = steps.then(work)
    settle(steps, sentence)
    steps = steps.catch(() => undefined)
  }

  /**
   * Asked of Redis each time: this process, or the machine under it, may have stood still since it renewed the lease,
   * and no clock of its own need show that.
   * @throws Error where Redis does not say
   */
  async function holdsLease (ownFence: number): Promise<boolean> {
    if (fence !== ownFence) return false
    return await withDeadline(askPatience, [], async late => await Promise.race([
      leases.isHeld(serverId, ownFence),
      new Promise<never>((_resolve, reject) => {
        late.addEventListener('abort', () => { reject(late.reason) }, { once: true })
      })
    ]))
  }

  async function begin (ownFence: number): Promise<void> {
    const current = () => !closed && fence === ownFence
    if (!current()) return
    try {
      const begun = await startServerWorker({
        ...dependencies, server, fence: ownFence, holdsLease: async () => await holdsLease(ownFence)
      }, current)
      if (current()) serving = begun
      else await begun.close(leaseLifetime)
    } catch (error) {
      // Let go of, so that this process or another can try again.
      if (fence === ownFence) fence = null
      await leases.release(serverId)
      throw error
    }
  }

  async function end (deadlineMs: number): Promise<void> {
    const ending = serving
    serving = null
    await ending?.close(deadlineMs)
  }

  /** Answers in how many milliseconds to see to it again. */
  async function seeToLease (): Promise<number> {
    if (fence === null) {
      const grace = reconnectedAt + graceAfterReconnect - performance.now()
      if (grace > 0) return Math.min(grace, leaseInterval)
      const answer = await leases.acquire(serverId, leaseLifetime)
      // Not a whole interval after it has run out: a dead holder's jobs wait for this.
      if (answer.kind === 'held') return Math.min(answer.remainingMs + 1, leaseInterval)
      fence = answer.fence
      step(async () => { await begin(answer.fence) }, 'could not begin to serve')
    } else if (await leases.renew(serverId, fence, leaseLifetime)) {
      serving?.tend()
    } else {
      log.warn({ server: server().alias }, 'another process serves this server now')
      fence = null
      serving?.abandon()
      step(async () => { await end(leaseLifetime) }, 'could not end serving')
    }
    return leaseInterval
  }

  function tick (): void {
    if (closed) return
    seeToLease()
      .catch(error => {
        log.debug({ server: server().alias, err: error }, 'could not see to the lease')
        return leaseInterval
      })
      .then(wait => { if (!closed) timer = setTimeout(tick, wait) })
  }
  freed.then(tick, tick)

  async function leave (deadlineMs: number): Promise<void> {
    // What is under way is let go of even while a step waits for a Redis that is away.
    await Promise.all([serving?.letGo(), steps.then(async () => { await end(deadlineMs) })])
    if (fence !== null) await leases.release(serverId)
  }

  return {
    cancel (jobId) { serving?.cancel(jobId) },
    checkNow () { serving?.checkNow() },
    holdOrResume () { serving?.holdOrResume() },
    reconnected () {
      reconnectedAt = performance.now()
      serving?.repairSoon()
    },
    seeToTurns () { serving?.seeToTurns() },
    seeToChecks () { serving?.seeToChecks() },
    serving: () => serving !== null,
    async close (deadlineMs) {
      closed = true
      clearTimeout(timer)
      const left = leave(deadlineMs)
      settle(left, 'could not leave in order')
      let deadline: NodeJS.Timeout | undefined
      // Without Redis some of it never ends; the lease runs out by itself then.
      await Promise.race([
        left.catch(() => undefined),
        new Promise<void>(resolve => { deadline = setTimeout(resolve, deadlineMs) })
      ])
      clearTimeout(deadline)
    }
  }
}

/** All servers as one process cares for them. */
export interface ServerWorkers {
  /** Whether this process takes jobs of the server. */
  serves (serverId: string): boolean
  /** Stops what runs, puts it back in line and lets others take over. */
  close (deadlineMs: number): Promise<void>
}

export interface ServerWorkersDependencies extends Omit<AttendanceDependencies, 'processes'> {
  readonly registry: ServerRegistry
  readonly runtime: RuntimeSettings
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
}

/** Notices can get lost, so servers and settings are read anew now and then all the same, in milliseconds. */
const lookInterval = 10_000

/** Attends every enabled server, and follows the registry while it runs. */
export async function startServerWorkers (dependencies: ServerWorkersDependencies): Promise<ServerWorkers> {
  const { registry, runtime, connection, subscriber, keys, storage, log } = dependencies
  const serving = { ...dependencies, processes: () => runtime.current().queueProcessing }
  const attended = new Map<string, { server: Server, attendance: Attendance }>()
  /** By server. */
  const leavings = new Map<string, Promise<void>>()

  function leave (serverId: string, deadlineMs: number): Promise<void> {
    const found = attended.get(serverId)
    if (found === undefined) return Promise.resolve()
    attended.delete(serverId)
    // One that was left before it began has still waited for the one before.
    const left = [leavings.get(serverId), found.attendance.close(deadlineMs)]
    const leaving = Promise.all(left).then(() => {}).finally(() => {
      if (leavings.get(serverId) === leaving) leavings.delete(serverId)
    })
    leavings.set(serverId, leaving)
    return leaving
  }

  function settle (leaving: Promise<void>): void {
    leaving.catch(error => { log.error({ err: error }, 'could not leave a server in order') })
  }

  function follow (): void {
    const wanted = new Map(registry.list().filter(({ enabled }) => enabled).map(server => [server.id, server]))
    for (const [serverId, { server: before }] of attended) {
      const now = wanted.get(serverId)
      if (now === undefined || !sameAddress(before.address, now.address)) settle(leave(serverId, 5000))
    }
    for (const [serverId, server] of wanted) {
      const found = attended.get(serverId)
      if (found === undefined) {
        const attendance = attend(
          () => attended.get(serverId)?.server ?? server, serving, leavings.get(serverId) ?? Promise.resolve())
        attended.set(serverId, { server, attendance })
      } else {
        found.server = server
        found.attendance.holdOrResume()
      }
    }
  }

  function holdOrResume (): void {
    for (const { attendance } of attended.values()) attendance.holdOrResume()
  }

  function onMessage (channel: string, message: string): void {
    if (channel === keys.channel('cancel')) {
      for (const { attendance } of attended.values()) attendance.cancel(message)
    } else if (channel === keys.channel('turns')) {
      attended.get(message)?.attendance.seeToTurns()
    } else if (channel === keys.channel('checks')) {
      attended.get(message)?.attendance.seeToChecks()
    } else if (channel === keys.channel('servers')) {
      registry.refresh()
        .then(() => { attended.get(message)?.attendance.checkNow() })
        .catch(error => { log.warn({ err: error }, 'could not read the servers') })
    } else if (channel === keys.channel('settings')) {
      runtime.refresh().catch(error => { log.warn({ err: error }, 'could not read the settings') })
    }
  }

  /** One listener for all: a connection that every server added one to would warn of a leak at eleven. */
  function onReady (): void {
    for (const { attendance } of attended.values()) attendance.reconnected()
  }

  connection.on('ready', onReady)
  subscriber.on('message', onMessage)
  await subscriber.subscribe(...(['cancel', 'checks', 'servers', 'settings', 'turns'] as const).map(keys.channel))
  const forget = [registry.onChange(follow), runtime.onChange(holdOrResume), storage.onChange(holdOrResume)]
  const timer = setInterval(() => {
    Promise.all([registry.refresh(), runtime.refresh()])
      .catch(error => { log.debug({ err: error }, 'could not read servers and settings') })
  }, lookInterval)
  await Promise.all([registry.refresh(), runtime.refresh()])
  follow()

  return {
    serves: serverId => attended.get(serverId)?.attendance.serving() ?? false,
    async close (deadlineMs) {
      clearInterval(timer)
      for (const stop of forget) stop()
      connection.off('ready', onReady)
      subscriber.off('message', onMessage)
      for (const serverId of [...attended.keys()]) settle(leave(serverId, deadlineMs))
      await Promise.all(leavings.values())
    }
  }
}
