import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { hasEnded } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { FailuresQuery, FailuresView, type GroupCounts, QueueQuery, QueueView } from '../../schemas/queue.ts'
import { keyToShow } from '../../src/access/principal.ts'
import type { Job } from '../../src/jobs/job.ts'
import { iso } from '../../src/lib/text.ts'
import { readJobFilter } from './job-views.ts'

/** Running jobs that one answer has at most: a server runs one. */
const mostRunning = 1000

/** The queue of all servers as one list, and failed jobs by cause. */
const queue: FastifyPluginAsyncTypebox = async app => {
  const { jobList: list, jobViews: views, bulks, registry, runtime } = app

  app.get('/api/v2/queue', {
    config: { access: { scope: 'jobs:read' } },
    schema: {
      operationId: 'queue.get',
      tags: ['Jobs'],
      summary: 'The queue of all servers',
      description: 'Running jobs, and the waiting ones in the order in which they are expected to begin, each with position, ' +
        'expected times and the reason why it waits. A key gets its own jobs; positions count those of all.',
      querystring: QueueQuery,
      response: { 200: { ...Ref(QueueView), description: 'The queue.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { key, limit = 200, offset = 0, ...given } = request.query
    const filter = readJobFilter(given, keyToShow(request.principal, key), registry)
    const ofWaiting = readJobFilter({ ...given, status: 'pending' }, filter.keyId, registry)
    const [timestamp, state, running, waiting] = await Promise.all([
      list.now(),
      runtime.read(),
      list.page({ ...filter, status: 'processing', order: 'oldest', limit: mostRunning, offset: 0 }),
      list.page({ ...ofWaiting, order: 'line', limit, offset })
    ])
    // Jobs can begin and finish between the two lists.
    const jobs = [...new Map([...running.jobs, ...waiting.jobs].map(job => [job.id, job])).values()]
    const shown = await views.short(jobs.filter(({ status }) => !hasEnded(status)), request.base)
    const byStart = (one: { started_at: string | null }, other: { started_at: string | null }) =>
      (one.started_at ?? '') < (other.started_at ?? '') ? -1 : 1
    return {
      success: true as const,
      as_of: iso(timestamp),
      enabled: state.values.queueProcessing,
      running: shown.filter(({ status }) => status === 'processing').sort(byStart),
      waiting: shown.filter(({ status }) => status === 'pending'),
      total_running: running.total,
      total_waiting: waiting.total,
      groups: await groupsOf(jobs)
    }
  })

  async function groupsOf (jobs: readonly Job[]): Promise<GroupCounts[]> {
    const ids = new Set(jobs.flatMap(({ bulkId }) => bulkId ?? []))
    return await Promise.all([...ids].map(async id => ({ id, ...await bulks.counts(id) })))
  }

  app.get('/api/v2/failures', {
    config: { access: { scope: 'jobs:read' } },
    schema: {
      operationId: 'queue.listFailures',
      tags: ['Jobs'],
      summary: 'Failed jobs by cause',
      description: 'Counts the failed jobs with the same error code. `filter` of each retries or deletes exactly those, by ' +
        'POST /api/v2/jobs/actions.',
      querystring: FailuresQuery,
      response: { 200: { ...Ref(FailuresView), description: 'The causes.' }, ...errorResponses(400, 403, 404) }
    }
  }, async request => {
    const { key, ...given } = request.query
    const filter = readJobFilter({ ...given, status: 'failed' }, keyToShow(request.principal, key), registry)
    const timestamp = await list.now()
    const jobs = await list.examined({ ...filter, before: timestamp })
    return {
      success: true as const,
      as_of: iso(timestamp),
      total: jobs.length,
      causes: causesOf(jobs, { ...given, ...(key === undefined ? {} : { key }) })
    }
  })
}

export default queue

function causesOf (jobs: readonly Job[], given: Readonly<Record<string, string>>): FailuresView['causes'] {
  const causes = new Map<string, { latest: Job, count: number }>()
  for (const job of jobs) {
    const code = job.error?.code ?? 'unknown'
    const known = causes.get(code)
    const isLater = known === undefined || (job.endedAt ?? 0) >= (known.latest.endedAt ?? 0)
    causes.set(code, { latest: isLater ? job : known.latest, count: (known?.count ?? 0) + 1 })
  }
  return [...causes].map(([code, { latest, count }]) => ({
    code,
    class: latest.error?.failureClass ?? 'unknown',
    count,
    message: latest.error?.message ?? '',
    job_id: latest.id,
    failed_at: iso(latest.endedAt ?? latest.updatedAt),
    filter: { ...given, status: 'failed', error: code }
  })).sort((one, other) => other.count - one.count)
}
