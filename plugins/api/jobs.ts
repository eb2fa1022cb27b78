import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { errorResponses } from '../../schemas/error.ts'
import {
  Done, type EndStatus, endStatuses, hasEnded, JobAnswer, JobChange, JobIdParameters, JobListQuery, JobListView,
  JobOverviewQuery, JobOverviewView, JobPatch, type JobStatus, JobView, JobWaitQuery, ShortJobListView, type
  ShortJobView
} from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { keyToShow, mayCancelJob, maySeeJob, type Principal } from '../../src/access/principal.ts'
import type { Job } from '../../src/jobs/job.ts'
import type { JobQuery } from '../../src/jobs/list.ts'
import { ignoring, ServiceError } from '../../src/lib/errors.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { iso } from '../../src/lib/text.ts'
import { disconnectSignal, keepLastAnswers } from '../core/held-requests.ts'
import { serverNamed } from '../../src/servers/choose.ts'
import { aheadOf, jobBases, readJobFilter } from './job-views.ts'
import { namingFields } from './parameter-fields.ts'

const waiting = 'With `?wait=` the service answers when the job has finished or that many seconds are over.'

/** Views of jobs and actions on them, the same under every spelling. */
const jobs: FastifyPluginAsyncTypebox = async app => {
  const {
    jobStore: store, jobList: list, jobMoves: moves, jobEdits: edits, imageSources, registry,
    waitForJob: wait, jobViews: views,
    shortIds, removeJob: remove
  } = app
  const keepAnswer = keepLastAnswers(app)

  /** The job, if the client has this right on it; another's job is answered as not found. */
  async function find (request: FastifyRequest, id: string, allowed: typeof maySeeJob): Promise<Job> {
    const job = await store.find(await shortIds.resolve(id))
    if (job === null || !allowed(request.principal, job.keyId)) {
      throw new ServiceError('job_not_found', `There is no job ${id}.`, { job_id: id })
    }
    return job
  }

  function toQuery (query: JobListQuery, { principal }: FastifyRequest): JobQuery {
    return {
      ...readJobFilter(query, keyToShow(principal, query.key), registry),
      order: orderOf(query),
      limit: query.limit ?? 50,
      offset: query.offset ?? 0,
      ...(query.cursor === undefined ? {} : { cursor: query.cursor })
    }
  }

  for (const { base, status } of jobBases) {
    const described = (operationId: string, summary: string, description = '') => ({
      operationId,
      tags: ['Jobs'],
      summary,
      ...(description === '' ? {} : { description })
    })

    app.get(base, {
      config: { access: { scope: 'jobs:read' } },
      schema: {
        ...described('jobs.list', 'List jobs', 'Newest first. Page with `cursor`, which stays right while jobs come ' +
          'and go, or with `offset`.'),
        querystring: JobListQuery,
        response: {
          200: { anyOf: [Ref(JobListView), Ref(ShortJobListView)], description: 'One page; the second with `view=short`.' },
          ...errorResponses(400, 403, 404)
        }
      }
    }, async (request, reply) => {
      const { query } = request
      const [{ ids, total, nextCursor }, timestamp] = await Promise.all([
        list.idPage(toQuery(query, request)), list.now()
      ])
      const texts = await views.texts(ids, query.view ?? 'full', request.base)
      const head = {
        success: true,
        total,
        as_of: iso(timestamp),
        count: texts.length,
        filters: { ...filtersOf(query), order: query.order?.toUpperCase() ?? 'DESC' }
      }
      // Half a megabyte, most of it from before: it is put together, not written again.
      reply.type('application/json; charset=utf-8')
      return await reply.send(pageOf(head, texts, nextCursor))
    })

    app.get(`${base}/overview`, {
      config: { access: { scope: 'jobs:read' } },
      schema: {
        ...described('jobs.getOverview', 'Overview of the queue', 'How many jobs there are in each state, the running ones, the next ' +
          'in the queue and the last that finished, in one answer for what shows a queue.'),
        querystring: JobOverviewQuery,
        response: { 200: { ...Ref(JobOverviewView), description: 'The overview.' }, ...errorResponses(400, 403, 404) }
      }
    }, async (request, reply) => {
      const read = async (status: JobStatus, limit: number, order: 'desc' | 'line' = 'desc') =>
        await list.idPage(toQuery({ ...request.query, status, order, limit }, request))
      const [running, waiting, timestamp, ...finished] = await Promise.all([
        read('processing', 50),
        read('pending', 5, 'line'),
        list.now(),
        // Jobs do not finish in the order in which they arrived.
        ...endStatuses.map(async status => await read(status, 30))
      ])
      const [ended = [], ofRunning = [], ofWaiting = []] = await Promise.all(
        [finished.flatMap(({ ids }) => ids), running.ids, waiting.ids].map(async ids =>
          (await views.texts(ids, 'short', request.base)).map(text => JSON.parse(String(text)) as ShortJobView)))
      const totalsOfEnds = Object.fromEntries(endStatuses.map((status, index) => [status, finished[index]?.total ?? 0]))
      const endOf = ({ finished_at: end }: ShortJobView) => end === null ? 0 : Date.parse(end)
      const view: JobOverviewView = {
        success: true,
        as_of: iso(timestamp),
        totals: {
          pending: waiting.total,
          processing: running.total,
          ...totalsOfEnds as Record<EndStatus, number>
        },
        running: ofRunning,
        waiting: ofWaiting,
        finished: ended.sort((one, other) => endOf(other) - endOf(one)).slice(0, 10)
      }
      return await reply.send(view)
    })

    const reading = { config: { access: { scope: 'jobs:read', bucket: 'status' } } } as const
    const readOne = async (request: FastifyRequest, reply: FastifyReply) => {
      const { jobId } = request.params as { jobId: string }
      const { wait: seconds = 0 } = request.query as JobWaitQuery
      const job = await find(request, jobId, maySeeJob)
      if (seconds === 0 || hasEnded(job.status)) return await views.one(job, request.base)
      reply.hold('waiting')
      keepAnswer(reply)
      await wait(job.id, seconds, disconnectSignal(reply))
      return await views.one(await find(request, jobId, maySeeJob), request.base)
    }
    for (const path of [`${base}/:jobId`, `${base}/:jobId/status`]) {
      const operation = path.endsWith('status') ? 'jobs.getStatus' : 'jobs.get'
      if (status === 'flat') {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', `Under v1 the fields of the job are at the top. ${waiting}`),
            params: JobIdParameters,
            querystring: JobWaitQuery,
            response: { 200: { ...Ref(JobView), description: 'The job.' }, ...errorResponses(404) }
          }
        }, readOne)
      } else {
        app.get(path, {
          ...reading,
          schema: {
            ...described(operation, 'One job', `Under v2 the job is in \`job\`. ${waiting}`),
            params: JobIdParameters,
            querystring: JobWaitQuery,
            response: { 200: { ...Ref(JobAnswer), description: 'The job.' }, ...errorResponses(404) }
          }
        }, async (request, reply) => ({ success: true as const, job: await readOne(request, reply) }))
      }
    }

    /** A POST that changes one job and answers with its new state. */
    function change (
      path: string, operation: string, summary: string, act: (jobId: string, principal: Principal) => Promise<string>
    ) {
      app.post(`${base}/:jobId/${path}`, {
        config: { access: { scope: 'jobs:write' } },
        schema: {
          ...described(operation, summary, 'Takes no fields.'),
          params: JobIdParameters,
          response: { 200: { ...Ref(JobChange), description: 'Done.' }, ...errorResponses(400, 403, 404) }
        }
      }, async request => {
        const { id } = await find(request, (request.params as { jobId: string }).jobId, mayCancelJob)
        const message = await act(id, request.principal)
        return { success: true as const, message, job: await views.one(await store.get(id), request.base) }
      })
    }

    change('cancel', 'jobs.cancel', 'Cancel a job', async jobId => await store.cancel(jobId) === 'cancelled'
      ? 'The job was cancelled.'
      : 'The job is being cancelled; its server gets an interrupt.')
    change('retry', 'jobs.retry', 'Queue a failed or cancelled job again', async jobId => {
      await store.retry(jobId)
      return 'The job is back in the queue.'
    })
    const runNow = async (jobId: string, principal: Principal) => {
      if ((await store.get(jobId)).status === 'failed') await store.retry(jobId)
      const ahead = aheadOf(principal)
      await store.runNow(jobId, ahead)
      return ahead === 'own' ? 'The job is first among the jobs of its access key.' : 'The job is first in the queue.'
    }
    change('run-now', 'jobs.runNow',
      'Move a waiting or failed job ahead of the others of its access key; with queue:admin, ahead of everybody\'s. It leaves the background.', runNow)
    change('dispatch', 'jobs.dispatch', 'Same as run-now, by its old name', runNow)

    app.patch(`${base}/:jobId`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        ...described('jobs.change', 'Change a waiting job', 'Other parameters, checked as at submission: those that are left out ' +
          'stay, and the job keeps its place. Another server, into or out of the background, another priority, or right ' +
          'ahead of another job, in this order if several are sent. A server that lacks something that the job needs ' +
          'is rejected with 422.'),
        params: JobIdParameters,
        body: Ref(JobPatch),
        response: { 200: { ...Ref(JobChange), description: 'Done.' }, ...errorResponses(400, 403, 404, 422) }
      }
    }, async request => {
      const { params, body: { server, priority, background, before, place } } = request
      const found = await find(request, params.jobId, mayCancelJob)
      const { id: jobId } = found
      if (before !== undefined && place !== undefined) {
        throw new ServiceError('invalid_field_value', 'before cannot be combined with place.', { field: 'before' })
      }
      const changes = changesOf(request.body)
      // A fault in one of them prevents all of them.
      const target = server === undefined ? undefined : serverNamed(registry, server, 'server')
      const ahead = before === undefined ? undefined : await find(request, before, maySeeJob)
      if (changes !== null) {
        await namingFields(request.body,
          async () => { await edits.edit(found, await imageSources.resolve(changes, request.principal), target) })
      } else if (target !== undefined) await moves.move(jobId, target)
      if (background !== undefined) await store.setBackground(jobId, background)
      if (priority !== undefined) await store.prioritise(jobId, priority)
      if (ahead !== undefined) await store.moveAhead(jobId, ahead.id, aheadOf(request.principal))
      if (place === 'first') {
        if (background ?? found.background) await store.runFirst(jobId)
        else await store.runNow(jobId, aheadOf(request.principal))
      }
      if (place === 'last') await store.runLast(jobId)
      const job = await views.one(await store.get(jobId), request.base)
      return {
        success: true as const, message: `The job ${job.background ? 'runs in the background: it ' : ''}is number ${job.queue_position} in the queue.`, job
      }
    })

    app.delete(`${base}/:jobId`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        ...described('jobs.delete', 'Delete a job with its files', 'A waiting job is cancelled first; a running one has ' +
          'to be cancelled before.'),
        params: JobIdParameters,
        response: { 200: { ...Ref(Done), description: 'Deleted.' }, ...errorResponses(400, 403, 404) }
      }
    }, async request => {
      const job = await find(request, request.params.jobId, mayCancelJob)
      if (job.status === 'pending') await store.cancel(job.id).catch(ignoring('job_operation_invalid'))
      await remove(job.id)
      return { success: true as const, message: 'The job and its files were deleted.' }
    })
  }
}

export default jobs

/** The parameters that a change names; null if it names none. @throws ServiceError for two prompts */
function changesOf ({ prompt, generation_params: parameters }: JobPatch): Record<string, unknown> | null {
  if (prompt === undefined) return parameters ?? null
  if (parameters?.prompt !== undefined || parameters?.positive_prompt !== undefined) {
    throw new ServiceError('invalid_field_value', 'prompt and generation_params.prompt name two prompts.', { field: 'prompt' })
  }
  return { ...parameters, prompt }
}

/** The JSON of a page. */
function pageOf (head: object, jobs: readonly Buffer[], nextCursor: string | null): Buffer {
  const comma = Buffer.from(',')
  return Buffer.concat([
    Buffer.from(`${stringifyJson(head).slice(0, -1)},"jobs":[`),
    ...jobs.flatMap((text, index) => index === 0 ? [text] : [comma, text]),
    Buffer.from(`],"next_cursor":${JSON.stringify(nextCursor)}}`)
  ])
}

/** Without parameters that only prevent caching. */
function filtersOf (query: JobListQuery): JobListQuery {
  return Object.fromEntries(Object.entries(query).filter(([name]) => Object.hasOwn(JobListQuery.properties, name)))
}

/** @throws ServiceError `invalid_field_value` if the filter has no order of its own */
function orderOf (query: JobListQuery): JobQuery['order'] {
  const { order = 'desc', status } = query
  if (order !== 'line') return order.toLowerCase() === 'asc' ? 'oldest' : 'newest'
  const others = [query.search, query.app_type, query.user, query.since, query.before, query.cursor]
  if (status === 'pending' && others.every(value => value === undefined)) return 'line'
  throw new ServiceError('invalid_field_value',
    'order must be asc or desc here; line needs status=pending, and allows server, limit, offset and key.',
    { field: 'order' })
}
