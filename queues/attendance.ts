import type { Redis } from 'ioredis'
import { withDeadline } from '../src/lib/deadline.ts'
import type { LeaseStore } from '../src/servers/lease.ts'
import type { Server } from '../src/servers/server.ts'
import { startServing, type Serving, type ServingDependencies } from './serving.ts'

/** How long a lease outlives its holder, and how often it is renewed or tried for, in milliseconds. */
const leaseLifetime = 4000
const leaseInterval = 1000
/** How long Redis is asked whether the lease is still held, in milliseconds. */
const askPatience = 1000
/** A process that was cut off itself must not take a lease for ended that was only not renewed through the cut. */
const graceAfterReconnect = 3000

export interface AttendanceDependencies extends Omit<ServingDependencies, 'server' | 'fence' | 'holdsLease'> {
  readonly leases: LeaseStore
  readonly connection: Redis
}

/** The care of one server by one process. */
export interface Attendance {
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
export function attend (
  server: () => Server, dependencies: AttendanceDependencies, freed: Promise<unknown>
): Attendance {
  const { leases, log } = dependencies
  const serverId = server().id
  let fence: number | null = null
  let serving: Serving | null = null
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
      const begun = await startServing({
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
