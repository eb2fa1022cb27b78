import { messageOf } from '../src/errors.ts'
import type { Job, JobAttempt } from '../src/jobs/job.ts'
import type { JobStore } from '../src/jobs/store.ts'
import type { Log } from '../src/log.ts'
import type { Server } from '../src/servers/server.ts'
import type { GenerationQueues } from './generation-queues.ts'

export interface LineRepairDependencies {
  readonly server: Server
  readonly store: JobStore
  readonly queues: GenerationQueues
  readonly log: Log
}

/** Records are looked at in pages, so that a long line never blocks Redis. */
const page = 500

/**
 * Gives each waiting job of a server that has lost its queue entry, or whose entry a dead worker holds, a new one:
 * records are the truth, and the queue follows. `isHeld` tells the entries that this process works on.
 */
export async function repairLine (
  { server, store, queues, log }: LineRepairDependencies, isHeld: (jobId: string) => boolean
): Promise<void> {
  for (let from = 0; ; from += page) {
    const ids = await store.line(server.id, from, from + page - 1)
    const jobs = await store.readMany(ids)
    for (const job of await queues.notWaiting(server.id, jobs.filter(({ status }) => status === 'pending'))) {
      if (isHeld(job.id)) continue
      await store.renewEntry(job)
      log.warn({ job: job.id, server: server.alias }, 'the job had lost its queue entry; it has a new one')
    }
    if (ids.length < page) return
  }
}

/**
 * Takes over a server from a worker that is gone, without waiting for its BullMQ locks to run out: what it ran goes
 * back in line, ahead of its class, and what it had only fetched gets a new entry.
 */
export async function takeOverLine (dependencies: LineRepairDependencies): Promise<void> {
  const { server, store, log } = dependencies
  for (const job of await store.running(server.id)) {
    const claim = { id: job.id, run: job.run, serverId: server.id, owner: job.owner ?? '' }
    const outcome = await store.giveBack(claim, {
      attempts: [workerLost(job, server)], usedAttempts: 0, crashes: 0, delayMs: 0
    })
    log.warn({ job: job.id, server: server.alias, outcome }, 'its worker is gone; the job is back in line')
  }
  await repairLine(dependencies, () => false).catch(error => {
    log.error({ server: server.alias, error: messageOf(error) }, 'could not repair the line; it is tried again')
  })
}

function workerLost (job: Job, server: Server): JobAttempt {
  return {
    run: job.run,
    server: server.alias,
    startedAt: job.startedAt ?? job.updatedAt,
    endedAt: Date.now(),
    error: {
      code: 'worker_lost',
      message: 'The worker process ended while it ran this generation.',
      failureClass: 'internal'
    }
  }
}
