import type { BotBatch, BotJob } from '../../schemas/bots-job.ts'
import { hasEnded } from '../../schemas/job.ts'
import { type Estimates, noOutlook } from '../jobs/estimates.ts'
import type { JobEstimate } from '../jobs/forecast.ts'
import type { Job } from '../jobs/job.ts'
import type { JobStore } from '../jobs/store.ts'
import type { Accepted } from '../jobs/submit.ts'
import { type Batch, batchAsJob, batchView } from './batches.ts'
import { botJob } from './job-view.ts'

/**
 * Jobs and batches for clients that reach the service under `base`, with position and times looked up. Null is a
 * deleted job.
 */
export interface BotViews {
  job (job: Job, base: string): Promise<BotJob>
  jobs (jobs: readonly Job[], base: string): Promise<BotJob[]>
  batch (batch: Batch, jobs: ReadonlyArray<Job | null>, base: string): Promise<BotBatch>
  batchAsJob (batch: Batch, jobs: ReadonlyArray<Job | null>, base: string): Promise<BotJob>
  /** Whole seconds until a job that was just accepted is done; null if unknown. */
  secondsOf (accepted: Accepted): Promise<number | null>
  /** The same for the unfinished jobs of a batch; null also if none is left. */
  secondsOfBatch (jobs: ReadonlyArray<Job | null>): Promise<number | null>
}

export interface BotViewsDependencies {
  readonly store: Pick<JobStore, 'find'>
  readonly estimates: Pick<Estimates, 'of'>
}

export function createBotViews ({ store, estimates }: BotViewsDependencies): BotViews {
  async function many (jobs: readonly Job[], base: string): Promise<BotJob[]> {
    const outlooks = await estimates.of(jobs)
    return jobs.map((job, index) => {
      const { position, estimate } = outlooks[index] ?? noOutlook
      return botJob(job, { base, position, seconds: wholeSeconds(estimate) })
    })
  }

  async function secondsOfBatch (jobs: ReadonlyArray<Job | null>): Promise<number | null> {
    const active = jobs.flatMap(job => job === null || hasEnded(job.status) ? [] : job)
    const outlooks = await estimates.of(active)
    const seconds = outlooks.map(({ estimate }) => wholeSeconds(estimate))
    return seconds.length === 0 || seconds.includes(null) ? null : Math.max(...seconds.map(Number))
  }

  return {
    jobs: many,
    async job (job, base) {
      const [view] = await many([job], base)
      return view as BotJob
    },
    batch: async (batch, jobs, base) => batchView(batch, jobs, { seconds: await secondsOfBatch(jobs), base }),
    batchAsJob: async (batch, jobs, base) => batchAsJob(batch, jobs, { seconds: await secondsOfBatch(jobs), base }),
    async secondsOf ({ id }) {
      const job = await store.find(id)
      const [outlook] = job === null ? [] : await estimates.of([job])
      return wholeSeconds(outlook?.estimate ?? null)
    },
    secondsOfBatch
  }
}

/** Never 0 for unfinished work. */
function wholeSeconds (estimate: JobEstimate | null): number | null {
  return estimate === null ? null : Math.max(1, Math.ceil(estimate.endsIn))
}
