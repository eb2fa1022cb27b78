import type { EventView } from '../../schemas/event.ts'
import type { JobActionAnswer, JobStatus, JobView, ShortJobView } from '../../schemas/job.ts'
import { UsageError } from '../lib/errors.ts'
import { followJob, readJob, showProgress } from './follow.ts'
import { counted, durationText, type Output, printJson, tableOf, timeText } from './output.ts'
import { persist, type Service } from './service.ts'
import { endText, exitCodeOf } from './submit.ts'

/** The states of a job, for completion and help; the service knows them as well. */
export const statuses = ['pending', 'processing', 'completed', 'failed', 'cancelled'] as const satisfies readonly JobStatus[]

export interface Filter {
  readonly status?: string
  readonly server?: string
  readonly search?: string
}

const queryOf = (values: Readonly<Record<string, string | number | undefined>>) =>
  new URLSearchParams(Object.entries(values).flatMap(([name, value]): Array<[string, string]> =>
    value === undefined ? [] : [[name, String(value)]])).toString()

/** Lists jobs, the newest first. */
export async function listJobs (
  service: Service,
  { limit, json = false, ...filter }: Filter & { readonly limit: number, readonly json?: boolean },
  output: Output
): Promise<number> {
  const jobs: ShortJobView[] = []
  let total = 0
  let cursor: string | undefined
  do {
    const query = queryOf({ ...filter, view: 'short', limit: Math.min(1000, limit - jobs.length), cursor })
    const page = await service.ask('GET', `/api/v2/jobs?${query}`) as {
      readonly jobs: ShortJobView[], readonly total: number, readonly next_cursor: string | null
    }
    jobs.push(...page.jobs)
    total = page.total
    cursor = page.next_cursor ?? undefined
  } while (cursor !== undefined && jobs.length < limit)
  if (json) {
    printJson(output, { total, jobs })
    return 0
  }
  const rows = jobs.map(job => [job.id, job.status, job.alias === 'default' ? '' : job.alias, stateOf(job), job.prompt])
  output.out(jobs.length === 0 ? 'No jobs.\n' : tableOf(['ID', 'STATUS', 'SERVER', 'STATE', 'PROMPT'], rows, output.width))
  if (total > jobs.length) output.note(`These are ${jobs.length} of ${counted(total, 'job')}; --limit shows more.\n`)
  return 0
}

function stateOf ({ status, position, eta, progress, finished_at: finished, images }: ShortJobView): string {
  const left = eta === null ? '' : `, ${durationText(eta)} left`
  if (status === 'pending') return position === null ? '' : `place ${position}${left}`
  if (status === 'processing') return `${Math.round(progress * 100)} %${left}`
  const at = finished === null ? '' : timeText(finished)
  return status === 'completed' ? `${at}, ${counted(images.length, 'image')}` : at
}

/** Follows jobs until all have ended; without ids, everything that happens until it is interrupted. */
export async function watchJobs (
  service: Service, ids: readonly string[], { json = false }: { readonly json?: boolean }, output: Output
): Promise<number> {
  const leaving = new AbortController()
  const leave = () => { leaving.abort() }
  process.once('SIGINT', leave)
  const onAway = (reason: string) => { output.note(`${reason} Waiting for it.\n`) }
  try {
    if (ids.length === 0) return await watchAll(service, json, output, { onAway, signal: leaving.signal })
    const single = ids.length === 1 && !json ? showProgress(output) : null
    const jobs = await Promise.all(ids.map(async id => {
      const job = await followJob(service, id, {
        onAway: single?.away ?? onAway,
        signal: leaving.signal,
        onEvent: event => {
          if (json) printJson(output, event)
          else if (single !== null) single.event(event)
          else if (event.kind !== 'snapshot') output.out(eventLine(event))
        }
      })
      single?.end()
      if (!json) output.out(`${endText(job)}\n`)
      else printJson(output, job)
      for (const { url } of json ? [] : job.images) output.out(`${service.addressOf(url)}\n`)
      return job
    }))
    return Math.max(...jobs.map(exitCodeOf))
  } catch (error) {
    if (leaving.signal.aborted) return 130
    throw error
  } finally {
    process.off('SIGINT', leave)
  }
}

async function watchAll (
  service: Service, json: boolean, output: Output,
  { onAway, signal }: { readonly onAway: (reason: string) => void, readonly signal: AbortSignal }
): Promise<number> {
  let last: string | null = null
  for (;;) {
    await persist(async () => {
      for await (const event of service.events('/api/v1/events', last, signal)) {
        last = event.id ?? last
        if (json) printJson(output, event)
        else if (event.kind !== 'ready' && event.kind !== 'queue') output.out(eventLine(event))
      }
    }, onAway, signal)
    signal.throwIfAborted()
  }
}

/** One event as a line for people. */
function eventLine ({ at, kind, job_id: job, server, data }: EventView): string {
  const facts = [
    typeof data.progress === 'number' ? `${Math.round(data.progress * 100)} %` : '',
    typeof data.position === 'number' ? `place ${data.position}` : '',
    typeof data.filename === 'string' ? data.filename : '',
    typeof data.message === 'string' ? data.message : ''
  ]
  return `${[timeText(at), kind.padEnd(10), job ?? '', server ?? '', ...facts].filter(Boolean).join('  ')}\n`
}

export interface ManyOptions extends Filter {
  readonly all?: boolean
  readonly yes?: boolean
  readonly json?: boolean
}

const done = { cancel: 'Cancelled', retry: 'Queued again' } as const

/** Cancels or retries jobs: those of the ids, or with `all` those of the filter, after their number was confirmed. */
export async function actOnJobs (
  service: Service, action: 'cancel' | 'retry', ids: readonly string[], options: ManyOptions, output: Output
): Promise<number> {
  const { all = false, yes = false, json = false, ...filter } = options
  const narrowed = Object.keys(filter)
  if (ids.length > 0 && (all || narrowed.length > 0)) {
    throw new UsageError(`Name jobs, or --all with filters, not both: --${narrowed[0] ?? 'all'}.`)
  }
  if (ids.length === 0 && !all) {
    throw new UsageError('Name the jobs, or say --all, which --status, --server and --search narrow.')
  }
  if (ids.length === 1) {
    const answer = await service.ask('POST', `/api/v2/jobs/${encodeURIComponent(ids[0] ?? '')}/${action}`) as JobChangeAnswer
    if (json) printJson(output, answer)
    else output.out(`${done[action]}: ${answer.job.id}\n`)
    return 0
  }
  const which = ids.length > 0 ? { ids } : narrowed.length > 0 ? { filter } : { all: true }
  const counts = await service.ask('POST', '/api/v2/jobs/actions', { action, ...which, dry_run: true }) as JobActionAnswer
  if (ids.length === 0 && counts.count > 0 && !yes &&
    !await output.confirm(`${action === 'cancel' ? 'Cancel' : 'Retry'} ${counted(counts.count, 'job')}?`)) {
    throw new UsageError(`${counted(counts.count, 'job')} would be concerned; nothing was done. --yes confirms that.`)
  }
  const answer = await service.ask('POST', '/api/v2/jobs/actions', {
    action, ...which, expected: counts.count, created_before: counts.created_before
  }) as JobActionAnswer
  if (json) printJson(output, answer)
  else output.out(`${done[action]}: ${counted(answer.done, 'job')}\n`)
  for (const { id, message } of answer.refused) output.note(`${id}: ${message}\n`)
  return answer.refused_count > 0 && answer.done === 0 ? 1 : 0
}

interface JobChangeAnswer { readonly job: JobView, readonly message: string }

/** Tells what happened to a job so far, and with `follow` goes on until it ends. */
export async function jobLogs (
  service: Service, id: string,
  { follow = false, json = false }: { readonly follow?: boolean, readonly json?: boolean }, output: Output
): Promise<number> {
  const job = await readJob(service, id)
  if (json) printJson(output, job)
  else for (const line of storyOf(job)) output.out(`${line}\n`)
  return follow ? await watchJobs(service, [id], { json }, output) : 0
}

function storyOf (job: JobView): string[] {
  const lines: Array<readonly [at: string, text: string]> = [
    [job.creation_timestamp, `accepted from ${job.app_type}, priority ${job.priority}${serverText(job)}`],
    ...job.attempts.flatMap(({ run, server, started_at: began, ended_at: ended, code, message }) => [
      [began, `generation ${run} began at ${server}`], [ended, `generation ${run} failed: ${message} (${code})`]
    ] as const)
  ]
  const isLogged = job.attempts.some(({ started_at: began }) => began === job.started_timestamp)
  if (job.started_timestamp !== null && !isLogged) {
    lines.push([job.started_timestamp, `generation ${job.attempts.length + 1} began at ${job.target_server_alias}`])
  }
  if (job.completion_timestamp !== null) {
    const why = job.error === null ? '' : `: ${job.error.message} (${job.error.code})`
    lines.push([job.completion_timestamp, `${job.status}${why}`])
  }
  return [
    ...lines.sort(([one], [other]) => one.localeCompare(other)).map(([at, text]) => `${timeText(at)}  ${text}`),
    ...job.warnings.map(({ message }) => `Note: ${message}`),
    ...job.waiting_for === null ? [] : [`It waits: ${job.waiting_for}`],
    ...job.images.map(({ filename, width, height }) => `Image: ${filename} (${width}x${height})`)
  ]
}

function serverText ({ target_server_alias: alias, attempts }: JobView): string {
  return alias === 'default' || attempts.length > 0 ? '' : `, server ${alias}`
}
