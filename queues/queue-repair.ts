import { setTimeout as sleep } from 'node:timers/promises'
import type { JobClaims } from '../src/jobs/claims.ts'
import type { Job, JobAttempt } from '../src/jobs/job.ts'
import type { JobStore } from '../src/jobs/store.ts'
import type { Log } from '../src/lib/logging.ts'
import type { LeaseStore } from '../src/servers/lease.ts'
import type { Server } from '../src/servers/registry.ts'
import { entryId, type GenerationData, type GenerationQueues, type QueueEntry } from './generation-queue.ts'

export interface QueueRepairDependencies {
  readonly server: () => Server
  readonly store: JobStore
  readonly queues: GenerationQueues
  readonly log: Log
  /** Generations that a job can take if no server dies. */
  readonly maxAttempts: number
  /** The fence of the lease under which the queue is repaired. */
  readonly fence: number
  /** Whether this process works on this run now, from before its record shows that until after. */
  readonly isHeld: HeldEntries['has']
}

/** The queue entries that this process works on. */
export interface HeldEntries {
  has (entry: Pick<QueueEntry, 'id' | 'run'>): boolean
  /** Returns the function that releases it again. */
  add (entry: GenerationData): () => void
}

/**
 * By run, not by job: while a job runs, an entry of an earlier run can appear, which is over at once. Counted, as
 * BullMQ hands out an entry twice if its lock expired.
 */
export function createHeldEntries (): HeldEntries {
  const held = new Map<string, number>()
  return {
    has: entry => held.has(entryId(entry)),
    add ({ jobId, run }) {
      const name = entryId({ id: jobId, run })
      held.set(name, (held.get(name) ?? 0) + 1)
      return () => {
        const left = (held.get(name) ?? 1) - 1
        if (left > 0) held.set(name, left)
        else held.delete(name)
      }
    }
  }
}

/** Makes the queue of one server follow its records, for the process that holds the server's lease. */
export interface QueueRepair {
  /**
   * Returns jobs to the queue that are running by their records but not in this process: their worker is gone. They go
   * ahead of their class, without waiting until BullMQ's locks expire.
   * @returns the jobs whose generations can still be running at the server
   */
  takeBack (): Promise<Array<Pick<Job, 'id' | 'startedAt'>>>
  /** Gives a new queue entry to each claimed job that has lost its own, or whose entry a dead worker holds. */
  renewEntries (): Promise<void>
}

export function createQueueRepair (dependencies: QueueRepairDependencies): QueueRepair {
  const { server, store, queues, log, fence, maxAttempts, isHeld } = dependencies

  /** False if there is nothing to return: the job finished meanwhile, or another process serves the server now. */
  async function giveBack (job: Job): Promise<boolean> {
    const { id: serverId, alias } = server()
    const claim = { id: job.id, run: job.run, serverId, owner: job.owner ?? '' }
    const outcome = await store.giveBack(claim, {
      attempts: [workerLost(job, alias)],
      usedAttempts: 0,
      crashes: 0,
      delayMs: 0,
      disposition: 'answers',
      maxAttempts,
      fence
    })
    if (outcome === 'superseded' || outcome === 'lease_lost') return false
    log.warn({ job: job.id, server: alias, outcome }, 'its worker is gone; the job returns to the queue')
    return true
  }

  return {
    async takeBack () {
      const orphans: Job[] = []
      for (const job of await store.running(server().id)) {
        if (isHeld(job)) continue
        const isOrphan = await giveBack(job).catch(error => {
          // A job that was deleted meanwhile must not block the others.
          log.error({ job: job.id, err: error }, 'could not be taken back; it is tried again')
          return true
        })
        if (isOrphan) orphans.push(job)
      }
      return orphans
    },
    async renewEntries () {
      const { id: serverId, alias } = server()
      const claimed = await store.readMany(await store.claimedIds(serverId))
      for (const entry of await queues.notWaiting(serverId, claimed)) {
        if (isHeld(entry)) continue
        await store.renewEntry(entry)
        log.warn({ job: entry.id, server: alias }, 'the job had lost its queue entry; it has a new one')
      }
    }
  }
}

export interface DisabledServerDependencies
  extends Pick<QueueRepairDependencies, 'store' | 'queues' | 'log' | 'maxAttempts'> {
  readonly claims: Pick<JobClaims, 'adopt' | 'unclaim' | 'possiblySent'>
  readonly leases: Pick<LeaseStore, 'acquire' | 'release'>
}

/** How long this process keeps the lease of a disabled server at most, in milliseconds. */
const clearingTime = 4000

/**
 * Returns the jobs of disabled servers that no process has returned: what a dead worker ran or had claimed, and what a
 * process of an earlier version had bound to them.
 */
export async function clearDisabled (
  servers: readonly Server[], dependencies: DisabledServerDependencies
): Promise<void> {
  await Promise.all(servers.map(async server => {
    await clearOne(server, dependencies).catch(error => {
      dependencies.log.debug({ server: server.alias, err: error }, 'could not return the jobs of a disabled server')
    })
  }))
}

/** Only frequent looks show that the holder of a lease has died; in milliseconds, for longer than any lease lives. */
const [lookInterval, looksFor] = [250, 6000]

async function acquire (leases: Pick<LeaseStore, 'acquire'>, serverId: string): Promise<number | null> {
  for (const end = performance.now() + looksFor; ;) {
    const lease = await leases.acquire(serverId, clearingTime)
    if (lease.kind === 'taken') return lease.fence
    if (performance.now() > end) return null
    await sleep(Math.min(lease.remainingMs + 1, lookInterval))
  }
}

/** The lease shows that no process serves it any more. */
async function clearOne (server: Server, dependencies: DisabledServerDependencies): Promise<void> {
  const { store, claims, leases } = dependencies
  const { id } = server
  const [running, claimed] = await Promise.all([store.running(id), store.claimedIds(id)])
  if (running.length + claimed.length === 0) return
  const fence = await acquire(leases, id)
  if (fence === null) return
  try {
    // The process that serves it after it is enabled again stops what it still works on.
    await claims.possiblySent(id, fence)
    await createQueueRepair({ ...dependencies, server: () => server, fence, isHeld: () => false }).takeBack()
    await claims.adopt(id, fence)
    await claims.unclaim(id, { fence })
  } finally {
    await leases.release(id)
  }
}

function workerLost (job: Job, alias: string): JobAttempt {
  return {
    run: job.run,
    server: alias,
    startedAt: job.startedAt ?? job.updatedAt,
    endedAt: Date.now(),
    error: {
      code: 'worker_lost',
      message: 'The worker process died during this generation.',
      failureClass: 'internal'
    }
  }
}

/** How often the queue `waiting` is compared with the records, and the pause between two pages, in milliseconds. */
const compareInterval = 15_000
/** Every so many times it is compared entry by entry, as one that is missing and one too many cancel each other out. */
const wholeEvery = 20
/** States in which only people put entries there: its own have a priority. */
const foreign = ['wait', 'delayed', 'failed', 'completed'] as const
const pageInterval = 1000

export interface WaitingRepairDependencies {
  readonly claims: Pick<JobClaims, 'unclaimed' | 'repairWaiting'>
  readonly queues: Pick<GenerationQueues, 'waiting'>
  readonly log: Log
  readonly intervals?: { readonly repair?: number }
}

/**
 * Puts right what people did to the queue `waiting` in the dashboard. It counts first, and walks through the jobs only
 * if the numbers differ, a page a second, so that feeding the servers never waits for it.
 */
export function startWaitingRepair (
  { claims, queues, log, intervals }: WaitingRepairDependencies
): { close (): void } {
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let compared = 0

  async function walk (what: 'missing' | 'void'): Promise<number> {
    let total = 0
    for (let after = '0'; after !== '';) {
      const { last, changed } = await claims.repairWaiting(what, after)
      total += changed
      if (closed) return total
      after = last
      if (after !== '') await sleep(pageInterval)
    }
    return total
  }

  async function compare (): Promise<void> {
    const queue = queues.waiting()
    const [isPaused, waiting, counts] = await Promise.all([
      queue.isPaused(), claims.unclaimed(), queue.getJobCounts('prioritized', ...foreign)
    ])
    if (isPaused) await queue.resume()
    for (const state of foreign) if ((counts[state] ?? 0) > 0) await queue.clean(0, 0, state)
    if (waiting === counts.prioritized && ++compared % wholeEvery !== 0) return
    const changed = await walk('missing') + await walk('void')
    if (changed > 0) log.warn({ entries: changed }, 'the queue of waiting jobs was repaired')
  }

  function next (): void {
    timer = setTimeout(() => {
      compare()
        .catch(error => { log.debug({ err: error }, 'could not compare the queue of waiting jobs') })
        .finally(() => { if (!closed) next() })
    }, intervals?.repair ?? compareInterval)
  }
  next()

  return {
    close () {
      closed = true
      clearTimeout(timer)
    }
  }
}
