import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import {
  Done, JobAction, JobActionAnswer, JobAnswer, JobChange, JobIdParameters, JobListQuery, JobListView, JobPatch, JobView,
  JobWaitQuery
} from '../../schemas/job.ts'
import { hasEnded } from '../../schemas/job-status.ts'
import { Ref } from '../../schemas/kit.ts'
import { keyToShow, mayCancelJob, mayDo, maySeeJob, type Principal } from '../../src/access/principal.ts'
import { ServiceError } from '../../src/errors.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobList, JobQuery } from '../../src/jobs/list.ts'
import type { ManyAction, ManyJobs, ManyOrder, ManyOutcome } from '../../src/jobs/many.ts'
import type { JobStore } from '../../src/jobs/store.ts'
import type { JobWait } from '../../src/jobs/wait.ts'
import type { ServerRegistry } from '../../src/servers/registry.ts'
import { hangUp } from '../core/hang-up.ts'
import { keepLastAnswers } from '../core/last-answers.ts'
import { jobBases } from './job-bases.ts'
import type { JobViews } from './job-views.ts'
import { momentOf } from './moment.ts'

export interface JobsOptions {
  readonly wait: JobWait
  readonly store: JobStore
  readonly list: JobList
  readonly many: ManyJobs
  readonly registry: ServerRegistry
  readonly views: JobViews
  readonly remove: (jobId: string) => Promise<void>
}

const waiting = 'With `?wait=` the answer comes when the job ends or so many seconds are over.'

/** Seeing jobs and acting on them, the same under every spelling. */
const jobs: FastifyPluginAsyncTypebox<JobsOptions> = async (app, options) => {
  const { store, wait, list, many, registry, views, remove } = options
  const keepAnswer = keepLastAnswers(app)

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
      order: orderOf(query),
      limit: query.limit ?? 50,
      offset: query.offset ?? 0,
      ...(key === undefined ? {} : { keyId: key }),
      ...(query.server === undefined ? {} : { serverId: registry.require(query.server, 'server').id }),
      ...(query.status === undefined ? {} : { status: query.status }),
      ...(query.since === undefined ? {} : { since: momentOf('since', query.since) }),
      ...(query.search === undefined ? {} : { text: query.search }),
      ...(query.app_type === undefined ? {} : { appType: query.app_type }),
      ...(query.cursor === undefined ? {} : { cursor: query.cursor })
    }
  }

  function orderOfAction ({ action, server }: JobAction): ManyOrder {
    if (action !== 'move' && server === undefined) return { action }
    if (action === 'move' && server !== undefined) return { action, serverId: registry.require(server, 'server').id }
    throw action === 'move'
      ? new ServiceError('missing_required_field', 'server must name the one that takes the jobs.', { field: 'server' })
      : new ServiceError('invalid_field_value',
        'server goes with the action move only; filter.server chooses jobs by their server.', { field: 'server' })
  }

  function ownFilter ({ status, server, search }: NonNullable<JobAction['filter']>, principal: Principal) {
    return {
      ...(mayDo(principal, 'jobs:cancel:all') ? {} : { keyId: principal.keyId ?? '' }),
      ...(status === undefined ? {} : { status }),
      ...(server === undefined ? {} : { serverId: registry.require(server, 'filter.server').id }),
      ...(search === undefined ? {} : { text: search })
    }
  }

  for (const { base, name, status } of jobBases) {
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
    }, async (request, reply) => {
      // Half a megabyte with all that clients know by two names: by its schema it takes twice as long.
      reply.type('application/json; charset=utf-8').serializer(JSON.stringify)
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
    const readOne = async (request: FastifyRequest, reply: FastifyReply) => {
      const { jobId } = request.params as { jobId: string }
      const { wait: seconds = 0 } = request.query as JobWaitQuery
      const job = await find(request, jobId, maySeeJob)
      if (seconds === 0 || hasEnded(job.status)) return await views.one(job)
      keepAnswer(reply)
      await wait(jobId, seconds, hangUp(reply))
      return await views.one(await find(request, jobId, maySeeJob))
    }
    for (const path of [`${base}/:jobId`, `${base}/:jobId/status`]) {
      const operation = path.endsWith('status') ? 'get_job_status' : 'get_job'
      if (status === 'flat') {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', `Under v1 the fields of the job stand at the top. ${waiting}`),
            params: JobIdParameters,
            querystring: JobWaitQuery,
            response: { 200: { ...Ref(JobView), description: 'The job.' }, ...errorResponses(404) }
          }
        }, readOne)
      } else {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', `Under v2 the job stands in \`job\`. ${waiting}`),
            params: JobIdParameters,
            querystring: JobWaitQuery,
            response: { 200: { ...Ref(JobAnswer), description: 'The job.' }, ...errorResponses(404) }
          }
        }, async (request, reply) => ({ success: true as const, job: await readOne(request, reply) }))
      }
    }

    /** A POST that changes one job and answers with what became of it. */
    function change (path: string, operation: string, summary: string, act: (jobId: string) => Promise<string>) {
      app.post(`${base}/:jobId/${path}`, {
        config: { access: { scope: 'jobs:write' } },
        schema: {
          ...described(operation, summary, 'Takes no fields.'),
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

    app.patch(`${base}/:jobId`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        ...described('change_job', 'Change the place of a waiting job', 'Another server, another priority, or right ' +
          'ahead of another job, in this order where several are given.'),
        params: JobIdParameters,
        body: Ref(JobPatch),
        response: { 200: { ...Ref(JobChange), description: 'Done.' }, ...errorResponses(400, 403, 404) }
      }
    }, async request => {
      const { params: { jobId }, body: { server, priority, before } } = request
      await find(request, jobId, mayCancelJob)
      if (server !== undefined) await store.move(jobId, registry.require(server, 'server').id)
      if (priority !== undefined) await store.prioritise(jobId, priority)
      if (before !== undefined) await store.moveAhead(jobId, (await find(request, before, maySeeJob)).id)
      const job = await views.one(await store.get(jobId))
      return {
        success: true as const, message: `The job is number ${job.queue_position} in the line of ${job.target_server_alias}.`, job
      }
    })

    app.post(`${base}/actions`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        ...described('act_on_jobs', 'Do something with many jobs', 'With those of `ids`, or with all that fit `filter`. ' +
          'What cannot be done with one of them keeps none of the others from it.'),
        body: Ref(JobAction),
        response: { 200: { ...Ref(JobActionAnswer), description: 'Done.' }, ...errorResponses(400, 403, 404) }
      }
    }, async request => {
      const { action, ids, filter } = request.body
      if ((ids === undefined) === (filter === undefined)) {
        throw new ServiceError('invalid_field_value', 'ids or filter must say which jobs, and only one of them.',
          { field: ids === undefined ? 'ids' : 'filter' })
      }
      const { principal } = request
      const order = orderOfAction(request.body)
      const chosen = ids ?? await many.fitting(ownFilter(filter ?? {}, principal))
      const outcome = await many.act(order, chosen, owner => mayCancelJob(principal, owner))
      return renderOutcome(action, outcome)
    })

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

/** @throws ServiceError `invalid_field_value` where there is no one line to follow */
function orderOf ({ order = 'desc', status, server, search, app_type: appType, since, cursor }: JobListQuery): JobQuery['order'] {
  if (order !== 'line') return order.toLowerCase() === 'asc' ? 'oldest' : 'newest'
  const others = [search, appType, since, cursor]
  if (status === 'pending' && server !== undefined && others.every(value => value === undefined)) return 'line'
  throw new ServiceError('invalid_field_value',
    'order must be asc or desc here; line needs status=pending and server, and takes limit, offset and key besides.',
    { field: 'order' })
}

/** Refusals that an answer lists. */
const mostRefused = 100

const words: Readonly<Record<ManyAction, string>> = {
  cancel: 'cancelled', retry: 'put back in line', 'run-now': 'moved to the front', move: 'moved to the other server', delete: 'deleted'
}

function renderOutcome (action: ManyAction, { done, refused }: ManyOutcome): JobActionAnswer {
  const others = refused.length === 0 ? '' : `; ${refused.length} could not be`
  return {
    success: true,
    message: `${done} ${done === 1 ? 'job was' : 'jobs were'} ${words[action]}${others}.`,
    done,
    refused: refused.slice(0, mostRefused).map(({ id, error }) => ({ id, code: error.code, message: error.message })),
    refused_count: refused.length
  }
}

function unlessEnded (error: unknown): void {
  if (!(error instanceof ServiceError && error.code === 'job_operation_invalid')) throw error
}
