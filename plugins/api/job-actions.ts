import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { errorResponses } from '../../schemas/error.ts'
import { JobAction, JobActionAnswer } from '../../schemas/job.ts'
import { Ref } from '../../schemas/kit.ts'
import { keyToActOn, mayCancelJob, type Principal } from '../../src/access/principal.ts'
import type { ManyAction, ManyChoice, ManyCount, ManyOrder, ManyOutcome } from '../../src/jobs/many.ts'
import { ServiceError } from '../../src/lib/errors.ts'
import { iso } from '../../src/lib/text.ts'
import { serverNamed } from '../../src/servers/choose.ts'
import { aheadOf, jobBases, momentOf, readJobFilter } from './job-views.ts'

/** Actions on many jobs with one request, which can be counted first. */
const jobActions: FastifyPluginAsyncTypebox = async app => {
  const { manyJobs: many, registry } = app

  function orderOf ({ action, server }: JobAction, principal: Principal): ManyOrder {
    if (action === 'run-now' && server === undefined) return { action, ahead: aheadOf(principal) }
    if (action !== 'move' && action !== 'run-now' && server === undefined) return { action }
    if (action === 'move' && server !== undefined) return { action, server: serverNamed(registry, server, 'server') }
    throw action === 'move'
      ? new ServiceError('missing_required_field', 'server must name the new server of the jobs.', { field: 'server' })
      : new ServiceError('invalid_field_value',
          'server needs the action move; filter.server selects jobs by their server.', { field: 'server' })
  }

  function choiceOf ({ ids, filter, all = false }: JobAction, principal: Principal): ManyChoice {
    const isNarrowed = filter !== undefined && Object.keys(filter).length > 0
    if (ids !== undefined) {
      if (filter === undefined && !all) return { ids }
      throw new ServiceError('invalid_field_value', 'ids cannot be combined with filter or all.', { field: 'ids' })
    }
    if (!isNarrowed && !all) {
      throw new ServiceError('invalid_field_value', 'ids or filter must say which jobs; with "all": true it is about all of them.',
        { field: filter === undefined ? 'ids' : 'filter' })
    }
    const { key, ...others } = filter ?? {}
    return { filter: readJobFilter(others, keyToActOn(principal, key, 'filter.key'), registry, 'filter.') }
  }

  for (const { base } of jobBases) {
    app.post(`${base}/actions`, {
      config: { access: { scope: 'jobs:write' } },
      schema: {
        operationId: 'jobs.act',
        tags: ['Jobs'],
        summary: 'Do something with many jobs',
        description: 'With those of `ids`, with all that match `filter`, or with all if `all` is true. A failure with ' +
          'one job does not stop the others. To act on exactly the counted jobs, send `dry_run` ' +
          'first, and then `expected` and `created_before` from its answer: newer jobs stay untouched, and if there ' +
          'are more than expected, the answer is 409 and nothing is done. Fewer are no error: those no longer exist.',
        body: Ref(JobAction),
        response: { 200: { ...Ref(JobActionAnswer), description: 'Done.' }, ...errorResponses(400, 403, 404, 409) }
      }
    }, async request => {
      const { body, principal } = request
      const { action, expected, created_before: createdBefore, dry_run: isDryRun = false } = body
      const choice = choiceOf(body, principal)
      const before = createdBefore === undefined ? {} : { before: momentOf('created_before', createdBefore) }
      const mayAct = (owner: string | null) => mayCancelJob(principal, owner)
      // Counting needs no knowledge of the servers that take them.
      const order = isDryRun && body.server === undefined ? null : orderOf(body, principal)
      if (isDryRun || order === null) return renderCount(action, await many.count(choice, before, mayAct))
      const limits = { ...before, ...(expected === undefined ? {} : { expected }) }
      return renderOutcome(action, await many.act(order, choice, limits, mayAct))
    })
  }
}

export default jobActions

/** Refusals that an answer lists. */
const maxRefused = 100
/** Ids that an answer lists. */
const maxIds = 1000

const words: Readonly<Record<ManyAction, string>> = {
  cancel: 'cancelled',
  retry: 'put back into the queue',
  'run-now': 'moved to the front',
  move: 'moved to the other server',
  delete: 'deleted',
  background: 'moved into the background',
  foreground: 'moved out of the background'
}

function renderCount (action: ManyAction, { count, before }: ManyCount): JobActionAnswer {
  return {
    success: true,
    message: `${count} ${count === 1 ? 'job' : 'jobs'} would be ${words[action]}.`,
    dry_run: true,
    count,
    created_before: iso(before),
    done: 0,
    ids: [],
    refused: [],
    refused_count: 0
  }
}

function renderOutcome (action: ManyAction, { count, before, done, refused }: ManyOutcome): JobActionAnswer {
  const others = refused.length === 0 ? '' : `; ${refused.length} could not be`
  return {
    success: true,
    message: `${done.length} ${done.length === 1 ? 'job was' : 'jobs were'} ${words[action]}${others}.`,
    dry_run: false,
    count,
    created_before: iso(before),
    done: done.length,
    ids: done.slice(0, maxIds),
    refused: refused.slice(0, maxRefused).map(({ id, error }) => ({ id, code: error.code, message: error.message })),
    refused_count: refused.length
  }
}
