import type { StudioBatch, StudioJob } from '../../schemas/bots-job.ts'
import { hasEnded } from '../../schemas/job.ts'
import type { Estimates, JobEstimate, PlacedJob } from '../jobs/estimates.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Accepted } from '../jobs/submit.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import { type Batch, batchAsJob, batchView } from './batches.ts'
import { studioJob } from './job-view.ts'

/** Jobs and batches for clients, with place and times looked up. A job that is null was deleted. */
export interface StudioViews {
  job (job: Job): Promise<StudioJob>
  jobs (jobs: readonly Job[]): Promise<StudioJob[]>
  batch (batch: Batch, jobs: ReadonlyArray<Job | null>): Promise<StudioBatch>
  batchAsJob (batch: Batch, jobs: ReadonlyArray<Job | null>): Promise<StudioJob>
  /** Whole seconds until a job that was just accepted is done; null where that cannot be told. */
  secondsOf (accepted: Accepted): Promise<number | null>
  /** The same for all that has not ended of a batch; null also where there is nothing left. */
  secondsOfBatch (jobs: ReadonlyArray<Job | null>): Promise<number | null>
}

export interface StudioViewsDependencies {
  readonly store: Pick<JobStore, 'position'>
  readonly registry: Pick<ServerRegistry, 'byAlias'>
  readonly estimates: Pick<Estimates, 'of'>
}

export function createStudioViews ({ store, registry, estimates }: StudioViewsDependencies): StudioViews {
  async function placed (jobs: readonly Job[]) {
    return await Promise.all(jobs.map(async job =>
      ({ job, position: job.status === 'pending' ? await store.position(job) : null })))
  }

  async function many (jobs: readonly Job[]): Promise<StudioJob[]> {
    const found = await placed(jobs)
    const expected = await estimates.of(found)
    return found.map(({ job, position }, index) =>
      studioJob(job, { position, seconds: wholeSeconds(expected[index] ?? null) }))
  }

  async function secondsOfBatch (jobs: ReadonlyArray<Job | null>): Promise<number | null> {
    const active = jobs.flatMap(job => job === null || hasEnded(job.status) ? [] : job)
    const expected = await estimates.of(await placed(active))
    const seconds = expected.map(wholeSeconds)
    return seconds.length === 0 || seconds.includes(null) ? null : Math.max(...seconds.map(Number))
  }

  return {
    jobs: many,
    async job (job) {
      const [view] = await many([job])
      return view as StudioJob
    },
    batch: async (batch, jobs) => batchView(batch, jobs, await secondsOfBatch(jobs)),
    batchAsJob: async (batch, jobs) => batchAsJob(batch, jobs, await secondsOfBatch(jobs)),
    async secondsOf ({ id, alias, position }) {
      const serverId = registry.byAlias(alias)?.id
      if (serverId === undefined) return null
      const waiting: PlacedJob = { job: { id, serverId, status: 'pending' }, position }
      const [estimate] = await estimates.of([waiting])
      return wholeSeconds(estimate ?? null)
    },
    secondsOfBatch
  }
}

/** Never 0 for what is still to be done. */
function wholeSeconds (estimate: JobEstimate | null): number | null {
  return estimate === null ? null : Math.max(1, Math.ceil(estimate.endsIn))
}
