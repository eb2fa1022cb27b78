import type { JobView } from '../../schemas/job.ts'
import type { Estimates } from '../../src/jobs/estimates.ts'
import { removedAlias, type Job } from '../../src/jobs/job.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { renderJob } from './render-job.ts'

/** Pictures of jobs for callers, with alias, place and times looked up. */
export function createJobViews (store: JobStore, registry: ServerRegistry, estimates: Estimates) {
  async function many (jobs: readonly Job[]): Promise<JobView[]> {
    const placed = await Promise.all(jobs.map(async job =>
      ({ job, position: job.status === 'pending' ? await store.position(job) : null })))
    const expected = await estimates.of(placed)
    return placed.map(({ job, position }, index) => renderJob(job, {
      alias: registry.byId(job.serverId)?.alias ?? removedAlias, position, estimate: expected[index] ?? null
    }))
  }

  return {
    many,
    async one (job: Job): Promise<JobView> {
      const [view] = await many([job])
      return view as JobView
    }
  }
}

export type JobViews = ReturnType<typeof createJobViews>
