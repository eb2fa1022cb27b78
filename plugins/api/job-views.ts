import type { JobView } from '../../schemas/job.ts'
import { removedAlias, type Job } from '../../src/jobs/job.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { renderJob } from './render-job.ts'

/** Pictures of jobs for callers, with alias and place looked up. */
export function createJobViews (store: JobStore, registry: ServerRegistry) {
  async function view (job: Job): Promise<JobView> {
    const position = job.status === 'pending' ? await store.position(job) : null
    return renderJob(job, { alias: registry.byId(job.serverId)?.alias ?? removedAlias, position })
  }
  return {
    one: view,
    many: async (jobs: readonly Job[]) => await Promise.all(jobs.map(view))
  }
}

export type JobViews = ReturnType<typeof createJobViews>
