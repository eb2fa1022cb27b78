import type { Job, JobAttempt } from '../src/jobs/job.ts'
import type { JobStore } from '../src/jobs/store.ts'
import type { Log } from '../src/lib/logging.ts'
import type { Server } from '../src/servers/registry.ts'
import type { QueueEntry } from '../src/jobs/queue-entries.ts'
import { entryId, type GenerationData, type GenerationQueues } from './generation-queue.ts'

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
  /** Gives a new queue entry to each waiting job that has lost its own, or whose entry a dead worker holds. */
  renewEntries (): Promise<void>
}

/** A queue is read in pages, so that a long one never blocks Redis. */
const page = 500

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
      for (let from = 0; ; from += page) {
        const entries = await store.entries(serverId, from, from + page - 1)
        for (const entry of await queues.notWaiting(serverId, entries)) {
          if (isHeld(entry)) continue
          await store.renewEntry(entry)
          log.warn({ job: entry.id, server: alias }, 'the job had lost its queue entry; it has a new one')
        }
        if (entries.length < page) return
      }
    }
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
