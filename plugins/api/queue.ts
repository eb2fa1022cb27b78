import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { hasEnded } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { FailuresQuery, FailuresView, type GroupCounts, GroupsQuery, GroupsView, QueueQuery, QueueView } from '../../schemas/queue.ts'
import { keyToShow } from '../../src/access/principal.ts'
import type { JobFilter } from '../../src/jobs/list.ts'
import { pageOf } from '../../src/lib/page-of.ts'
import { iso } from '../../src/lib/text.ts'
import { readJobFilter } from './job-views.ts'

/** Running jobs that one answer has at most: a server runs one. */
const mostRunning = 1000
/** Waiting jobs of all servers in one order; those behind them stay as they are listed. */
const mostMerged = 2000

/** The queue of all servers as one list, and failed jobs by cause. */
const queue: FastifyPluginAsyncTypebox = async app => {
  const { jobList: list, jobStore: store, jobViews: views, bulks, estimates, registry, runtime } = app

  /**
   * The first waiting jobs of all servers, in the order in which they are expected to begin; those of which that is not
   * known come last.
   */
  async function merged (): Promise<string[]> {
    const [{ ids }, expected] = await Promise.all([
      list.idPage({ status: 'pending', order: 'line', limit: mostMerged, offset: 0 }), estimates.positions(mostMerged)
    ])
    const ranks = new Map(expected.map(({ jobId, position }) => [jobId, position]))
    const rankOf = (id: string) => ranks.get(id) ?? mostMerged
    return ids.toSorted((one, other) => rankOf(one) - rankOf(other))
  }

  /** A page of the waiting jobs of a filter, and the place of each among those of all servers. */
  async function waitingPage (filter: JobFilter, limit: number, offset: number) {
    const asked = { ...filter, status: 'pending', order: 'line' } as const
    const isFar = offset + limit > mostMerged
    const [order, { ids, total }] = await Promise.all([
      merged(), list.idPage({ ...asked, limit: isFar ? limit : mostMerged, offset: isFar ? offset : 0 })
    ])
    const places = new Map(order.map((id, at) => [id, at + 1]))
    const placeOf = (id: string) => places.get(id) ?? Infinity
    const page = isFar
      ? ids
      // One that arrived between the two readings has no place yet.
      : ids.toSorted((one, other) => placeOf(one) < placeOf(other) ? -1 : 1).slice(offset, offset + limit)
    return { jobs: await store.readMany(page), total, places }
  }

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
    const { key, limit = 200, offset, cursor, ...given } = request.query
    const { begin, next } = pageOf({ limit, offset, cursor })
    const filter = readJobFilter(given, keyToShow(request.principal, key), registry)
    const ofWaiting = readJobFilter({ ...given, status: 'pending' }, filter.keyId, registry)
    const [timestamp, state, running, waiting] = await Promise.all([
      list.now(),
      runtime.read(),
      list.page({ ...filter, status: 'processing', order: 'oldest', limit: mostRunning, offset: 0 }),
      waitingPage(ofWaiting, limit, begin)
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
      waiting: shown.filter(({ status }) => status === 'pending')
        .map(row => ({ ...row, place: waiting.places.get(row.id) ?? null })),
      total_running: running.total,
      total_waiting: waiting.total,
      groups: await countsOf([...new Set(jobs.flatMap(({ bulkId }) => bulkId ?? []))]),
      next_cursor: next(waiting.total)
    }
  })

  const countsOf = async (ids: readonly string[]): Promise<GroupCounts[]> =>
    await Promise.all(ids.map(async id => ({ id, ...await bulks.counts(id) })))

  app.get('/api/v2/groups', {
    config: { access: { scope: 'jobs:read' } },
    schema: {
      operationId: 'queue.listGroups',
      tags: ['Jobs'],
      summary: 'How far some bulks or groups are',
      description: 'Counts the jobs of each in each state. A key gets its own groups.',
      querystring: GroupsQuery,
      response: { 200: { ...Ref(GroupsView), description: 'The groups.' }, ...errorResponses(400, 403) }
    }
  }, async ({ query, principal }) => {
    const own = readJobFilter({}, keyToShow(principal, undefined), registry)
    const totals = await Promise.all(query.id.map(async group =>
      (await list.idPage({ ...own, group, order: 'oldest', limit: 1, offset: 0 })).total))
    return { success: true as const, groups: await countsOf(query.id.filter((_, index) => totals[index] !== 0)) }
  })

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
    const causes = await list.causes({ ...filter, before: timestamp })
    return {
      success: true as const,
      as_of: iso(timestamp),
      total: causes.reduce((sum, { count }) => sum + count, 0),
      causes: causes.toSorted((one, other) => other.count - one.count).map(({ code, count, newest }) => ({
        code,
        class: newest.error?.failureClass ?? 'unknown',
        count,
        message: newest.error?.message ?? '',
        job_id: newest.id,
        failed_at: iso(newest.endedAt ?? newest.updatedAt),
        filter: { ...given, ...(key === undefined ? {} : { key }), status: 'failed', error: code }
      }))
    }
  })
}

export default queue
