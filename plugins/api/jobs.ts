import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import { Done, JobAnswer, JobChange, JobIdParameters, JobListQuery, JobListView, JobView } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { mayCancelJob, maySeeJob, seesAllJobs, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobList, JobQuery } from '../../src/jobs/list.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import type { JobViews } from './job-views.ts'

export interface JobsOptions {
  readonly store: JobStore
  readonly list: JobList
  readonly registry: ServerRegistry
  readonly views: JobViews
  readonly remove: (jobId: string) => Promise<void>
}

/** Every spelling of these routes that clients and documents use; `flat` is how v1 always gave one job's status. */
const spellings = [
  { base: '/api/v2/jobs', name: 'v2', status: 'wrapped' },
  { base: '/api/v2/queue/jobs', name: 'v2_queue', status: 'wrapped' },
  { base: '/api/v1/jobs', name: 'v1', status: 'flat' },
  { base: '/api/v1/queue/jobs', name: 'v1_queue', status: 'flat' }
] as const

/** Seeing jobs and acting on them, the same under every spelling. */
const jobs: FastifyPluginAsyncTypebox<JobsOptions> = async (app, { store, list, registry, views, remove }) => {
  /** The job, if the caller may do this with it; another's job is answered as one that is not there. */
  async function find (request: FastifyRequest, id: string, allowed: typeof maySeeJob): Promise<Job> {
    const job = await store.find(id)
    if (job === null || !allowed(request.principal, job.keyId)) {
      throw new ServiceError('job_not_found', `There is no job ${id}.`, { job_id: id })
    }
    return job
  }

  function toQuery (query: JobListQuery, request: FastifyRequest): JobQuery {
    const key = keyToShow(request.principal, query.key)
    return {
      order: query.order?.toLowerCase() === 'asc' ? 'oldest' : 'newest',
      limit: query.limit ?? 50,
      offset: query.offset ?? 0,
      ...(key === undefined ? {} : { keyId: key }),
      ...(query.server === undefined ? {} : { serverId: registry.require(query.server, 'server').id }),
      ...(query.status === undefined ? {} : { status: query.status }),
      ...(query.since === undefined ? {} : { since: momentOf(query.since) }),
      ...(query.search === undefined ? {} : { text: query.search }),
      ...(query.app_type === undefined ? {} : { appType: query.app_type }),
      ...(query.cursor === undefined ? {} : { cursor: query.cursor })
    }
  }

  for (const { base, name, status } of spellings) {
    const described = (operation: string, summary: string, description = '') => ({
      operationId: `${operation}_${name}`,
      tags: ['Jobs'],
      summary,
      ...(description === '' ? {} : { description })
    })

    app.get(base, {
      config: { access: { scope: 'jobs:read' } },
      schema: {
        ...described('list_jobs', 'List jobs', 'Newest first. Page with `cursor`, which stays right while jobs come ' +
          'and go, or with `offset`. With `search` or `app_type` a page may be short although `next_cursor` leads on.'),
        querystring: JobListQuery,
        response: { 200: { ...Ref(JobListView), description: 'One page.' }, ...errorResponses(400, 403, 404) }
      }
    }, async request => {
      const { jobs: found, total, nextCursor } = await list.page(toQuery(request.query, request))
      return {
        success: true as const,
        total,
        count: found.length,
        filters: { ...request.query, order: request.query.order?.toUpperCase() ?? 'DESC' },
        jobs: await views.many(found),
        next_cursor: nextCursor
      }
    })

    const reading = { config: { access: { scope: 'jobs:read', bucket: 'status' } } } as const
    const readOne = async (request: FastifyRequest) => {
      const { jobId } = request.params as { jobId: string }
      return await views.one(await find(request, jobId, maySeeJob))
    }
    for (const path of [`${base}/:jobId`, `${base}/:jobId/status`]) {
      const operation = path.endsWith('status') ? 'get_job_status' : 'get_job'
      if (status === 'flat') {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', 'Under v1 the fields of the job stand at the top.'),
            params: JobIdParameters,
            response: { 200: { ...Ref(JobView), description: 'The job.' }, ...errorResponses(404) }
          }
        }, readOne)
      } else {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', 'Under v2 the job stands in `job`.'),
            params: JobIdParameters,
            response: { 200: { ...Ref(JobAnswer), description: 'The job.' }, ...errorResponses(404) }
          }
        }, async request => ({ success: true as const, job: await readOne(request) }))
      }
    }

    /** A POST that changes one job and answers with what became of it. */
    function change (path: string, operation: string, summary: string, act: (jobId: string) => Promise<string>) {
      app.post(`${base}/:jobId/${path}`, {
        config: { access: { scope: 'jobs:write' } },
        schema: {
          ...described(operation, summary, 'A body is not needed; one that is sent is ignored.'),
          params: JobIdParameters,
          response: { 200: { ...Ref(JobChange), description: 'Done.' }, ...errorResponses(400, 403, 404) }
        }
      }, async request => {
        const { jobId } = request.params as { jobId: string }
        await find(request, jobId, mayCancelJob)
        const message = await act(jobId)
        return { success: true as const, message, job: await views.one(await store.get(jobId)) }
      })
    }

    change('cancel', 'cancel_job', 'Cancel a job', async jobId => await store.cancel(jobId) === 'cancelled'
      ? 'The job was cancelled.'
      : 'The job is being cancelled; its server is told to stop.')
    change('retry', 'retry_job', 'Put a failed or cancelled job in line again', async jobId => {
      await store.retry(jobId)
      return 'The job is back in line.'
    })
    const runNow = async (jobId: string) => {
      if ((await store.get(jobId)).status === 'failed') await store.retry(jobId)
      await store.runNow(jobId)
      return 'The job is first in line.'
    }
    change('run-now', 'run_job_now', 'Move a waiting or failed job to the front of its line', runNow)
    change('dispatch', 'dispatch_job', 'Same as run-now, by its old name', runNow)

    app.delete(`${base}/:jobId`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        ...described('delete_job', 'Delete a job with its files', 'A waiting job is cancelled first; a running one has ' +
          'to be cancelled before.'),
        params: JobIdParameters,
        response: { 200: { ...Ref(Done), description: 'Deleted.' }, ...errorResponses(400, 403, 404) }
      }
    }, async request => {
      const { jobId } = request.params
      const job = await find(request, jobId, mayCancelJob)
      if (job.status === 'pending') await store.cancel(jobId).catch(unlessEnded)
      await remove(jobId)
      return { success: true as const, message: 'The job and its files were deleted.' }
    })
  }
}

export default jobs

/**
 * The key whose jobs are listed; undefined for those of all.
 * @throws ServiceError `permission_denied` for another's key
 */
function keyToShow (principal: Principal, asked: string | undefined): string | undefined {
  if (seesAllJobs(principal)) return asked
  const own = principal.keyId ?? ''
  if (asked === undefined || asked === own) return own
  throw new ServiceError('permission_denied', 'The jobs of another key need the scope jobs:read:all.', { field: 'key' })
}

/** The format also admits leap seconds, which are no moments to JavaScript. */
function momentOf (text: string): number {
  const moment = Date.parse(text)
  if (!Number.isNaN(moment)) return moment
  throw new ServiceError('invalid_field_value', 'since must be a moment such as 2026-11-21T09:30:00Z.', { field: 'since' })
}

function unlessEnded (error: unknown): void {
  if (!(error instanceof ServiceError && error.code === 'job_operation_invalid')) throw error
}
