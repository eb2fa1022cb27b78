import { type Job, Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import { fillCauses } from '../src/jobs/causes.ts'
import type { SweepReport } from '../src/jobs/media-sweep.ts'
import { fillSearch, sealSearch } from '../src/jobs/search-text.ts'
import { purgeInterval, type Retention } from '../src/jobs/retention.ts'
import { anySignal } from '../src/lib/deadline.ts'
import { messageOf } from '../src/lib/errors.ts'
import type { Keys } from '../src/lib/keys.ts'
import type { Log } from '../src/lib/logging.ts'
import { type ScanStatusStore, scanModels, type ScannerDependencies } from '../src/models/scan.ts'
import { startBackgroundWorker } from './background-worker.ts'

export const maintenanceQueueName = 'maintenance'
const scanName = 'scan-models'
const purgeName = 'purge-jobs'
/** So nothing waits for a scan, nor for a first fill of the search text. */
const atOnce = 3
const sweepName = 'sweep-media'
const fillName = 'fill-search'
/** How often to look for unused files, and for jobs that the search text or an index lacks, in milliseconds. */
const sweepInterval = 6 * 3_600_000
/** Files newer than this can belong to a job that is just being created or stored, in milliseconds. */
const safeAge = 24 * 3_600_000
/** How often a running scan checks whether to stop, in milliseconds. */
const stopInterval = 200

/** Options of work that is tried again before its next time. */
const repeated = { attempts: 5, backoff: { type: 'fixed', delay: 60_000 }, removeOnComplete: true, removeOnFail: true }

export interface Maintenance {
  /** Scans the model folders as soon as a worker can; a scan that already waits or runs counts. */
  requestScan (): Promise<void>
  /** Schedules the removal of old jobs, at once and then every six hours, by one of all processes. */
  schedulePurges (): Promise<void>
  /** Schedules the removal of unused files, now and every six hours, however many processes call this. */
  scheduleSweeps (): Promise<void>
  /** Schedules a check, now and every six hours, which adds what the search text and the indexes by error code lack. */
  scheduleFills (): Promise<void>
  queue: Queue
  close (): Promise<void>
}

export interface MaintenanceDependencies {
  readonly connection: Redis
  readonly keys: Keys
  readonly scanStatus: ScanStatusStore
  readonly log: Log
}

export function createMaintenance ({ connection, keys, scanStatus, log }: MaintenanceDependencies): Maintenance {
  const queue = new Queue(maintenanceQueueName, { connection, prefix: keys.bullPrefix, skipVersionCheck: true })
  queue.on('error', error => { log.debug({ err: error }, 'queue connection') })
  return {
    queue,
    async requestScan () {
      const { state } = await scanStatus.read()
      if (state !== 'running') {
        await scanStatus.write({ state: 'waiting', startedAt: null, endedAt: null, report: null, problem: null })
      }
      await queue.add(scanName, {}, { jobId: scanName, removeOnComplete: true, removeOnFail: true })
    },
    async schedulePurges () {
      await queue.upsertJobScheduler(purgeName, { every: purgeInterval }, {
        name: purgeName, opts: repeated
      })
    },
    async scheduleSweeps () {
      await queue.upsertJobScheduler(sweepName, { every: sweepInterval },
        { name: sweepName, opts: { removeOnComplete: true, removeOnFail: true } })
    },
    async scheduleFills () {
      await queue.upsertJobScheduler(fillName, { every: sweepInterval },
        { name: fillName, opts: repeated })
    },
    close: async () => { await queue.close() }
  }
}

export interface MaintenanceWorker {
  close (): Promise<void>
}

export interface MaintenanceWorkerDependencies extends MaintenanceDependencies, ScannerDependencies {
  readonly retention: Retention
  /** Removes unused files that are older than a time in milliseconds since the epoch. */
  readonly sweep: (before: number) => Promise<SweepReport>
}

/**
 * Runs scans, purges and sweeps, one of each at a time over all processes. Another process repeats the task of a dying
 * one.
 */
export function createMaintenanceWorker (dependencies: MaintenanceWorkerDependencies): MaintenanceWorker {
  const { connection, keys, scanStatus, log, retention } = dependencies

  async function scan (closing: AbortSignal): Promise<void> {
    const stopped = new AbortController()
    const startedAt = Date.now()
    const status = { state: 'running', startedAt, endedAt: null, report: null, problem: null } as const
    await scanStatus.takeStop()
    await scanStatus.write(status)
    const timer = setInterval(() => {
      scanStatus.takeStop().then(stop => { if (stop) stopped.abort() })
        .catch(error => { log.debug({ err: error }, 'could not look for a stop') })
    }, stopInterval)
    const ending = anySignal(closing, stopped.signal)
    try {
      const report = await scanModels(dependencies, async part => {
        await scanStatus.write({ ...status, report: part })
      }, ending.signal)
      await scanStatus.write({ ...status, state: 'completed', endedAt: Date.now(), report })
    } catch (error) {
      // this process stops: another one continues
      if (closing.aborted) throw error
      const { report } = await scanStatus.read()
      const end = stopped.signal.aborted
        ? { state: 'stopped', problem: null } as const
        : { state: 'failed', problem: messageOf(error) } as const
      await scanStatus.write({ ...status, ...end, endedAt: Date.now(), report })
      if (end.state === 'failed') log.error({ err: error }, 'could not look through the model folders')
    } finally {
      clearInterval(timer)
      ending.clear()
    }
  }

  async function sweep (): Promise<void> {
    const report = await dependencies.sweep(Date.now() - safeAge)
    if (report === null) {
      log.warn('no file is swept: the images under DATA_DIR are not those of this Redis, or newer than it. If nothing is ' +
        'missing in the list of jobs, remove DATA_DIR/outputs/.sweep.json')
    } else if (report.outputs + report.inputs > 0) {
      log.info(report, 'files of no job were removed')
    }
  }

  async function fill (closing: AbortSignal): Promise<void> {
    await fillCauses({ redis: connection, keys }, closing)
    await fillSearch({ redis: connection, keys }, closing)
    await sealSearch({ redis: connection, keys }, closing)
  }

  async function run ({ name }: Job, closing: AbortSignal): Promise<void> {
    if (name === purgeName) await retention.purge()
    else if (name === sweepName) await sweep()
    else if (name === fillName) await fill(closing)
    else await scan(closing)
  }

  return startBackgroundWorker({ connection, keys, log, name: maintenanceQueueName, atOnce, run })
}
