import { hasEnded, type JobStatus } from '../../schemas/job.ts'
import { type Principal, seesAllJobs } from '../access/principal.ts'
import type { Job } from '../jobs/job.ts'
import type { JobList } from '../jobs/list.ts'
import type { BackgroundTasks } from './background-tasks.ts'
import {
  type failureEntry, newestFirst, type publicEntry, type Shown, shownJob, trackerStates
} from './status-mapping.ts'

/** Options of the Job Tracker's list. */
export interface TrackerQuery {
  readonly ip: string | null
  readonly status: string | null
  /** Seconds since the epoch; only later ones. */
  readonly after: number | null
  readonly limit: number
}

export interface JobSearch {
  /** Jobs of the drop-in, newest first. */
  tracked (principal: Principal, query: TrackerQuery): Promise<Shown[]>
  /**
   * Active jobs and background tasks, and those that completed or were cancelled within the last minutes, newest first.
   */
  current (principal: Principal): Promise<Shown[]>
  /** Failed jobs and background tasks, newest first. */
  failed (principal: Principal, limit: number): Promise<Shown[]>
}

/** async-proxy shows finished ones for this long. */
const shownAfterEndMs = 5 * 60_000
const pageSize = 200
/** Limit of records that one call reads. */
const maxExamined = 10_000
const maxListed = 1000

export function createJobSearch (list: JobList, backgroundTasks: BackgroundTasks): JobSearch {
  const own = (principal: Principal) => seesAllJobs(principal) ? {} : { keyId: principal.keyId ?? '' }

  async function search (
    filter: { readonly keyId?: string, readonly status?: JobStatus, readonly since?: number },
    limit: number, fits: (job: Job) => boolean
  ): Promise<Job[]> {
    const found: Job[] = []
    let cursor: string | undefined
    for (let examined = 0; examined < maxExamined && found.length < limit; examined += pageSize) {
      const page = await list.page({
        ...filter, order: 'newest', limit: pageSize, offset: 0, ...(cursor === undefined ? {} : { cursor })
      })
      found.push(...page.jobs.filter(fits))
      if (page.nextCursor === null) break
      cursor = page.nextCursor
    }
    return found.slice(0, limit)
  }

  return {
    async tracked (principal, { ip, status, after, limit }) {
      const since = after === null ? {} : { since: (after + 1) * 1000 }
      const jobs = await search({ ...own(principal), ...since }, Math.min(Math.max(0, limit), maxListed), job => {
        const origin = job.submission.dropIn
        return origin !== undefined && (ip === null || origin.ip === ip) &&
          (status === null || trackerStates[job.status].toLowerCase() === status.toLowerCase())
      })
      return jobs.map(shownJob)
    },
    async current (principal) {
      const recently = Date.now() - shownAfterEndMs
      const ended = ({ endedAt }: Pick<Job, 'endedAt'>) => (endedAt ?? 0) >= recently
      const groups = await Promise.all([
        search({ ...own(principal), status: 'pending' }, maxListed, () => true),
        search({ ...own(principal), status: 'processing' }, maxListed, () => true),
        search({ ...own(principal), status: 'completed' }, maxListed, ended),
        search({ ...own(principal), status: 'cancelled' }, maxListed, ended)
      ])
      const others = (await backgroundTasks.list(principal)).filter(backgroundTask =>
        backgroundTask.status !== 'failed' && (!hasEnded(backgroundTask.status) || ended(backgroundTask)))
      return [...groups.flat().map(shownJob), ...others].toSorted(newestFirst)
    },
    async failed (principal, limit) {
      const jobs = await search({ ...own(principal), status: 'failed' }, limit, () => true)
      const others = (await backgroundTasks.list(principal)).filter(({ status }) => status === 'failed')
      return [...jobs.map(shownJob), ...others].toSorted(newestFirst).slice(0, limit)
    }
  }
}

type Entry = ReturnType<typeof publicEntry>
type Failure = ReturnType<typeof failureEntry>

/** Seconds after which the page reloads itself. */
const reloadSeconds = 2

/** The status page of async-proxy: no script, every text escaped. */
export function renderJobsPage (jobs: readonly Entry[], failures: readonly Failure[]): string {
  const rows = jobs.map(({ uuid, status, progress, completed_at: completedAt }, index) =>
    row([String(index + 1), escaped(uuid), escaped(status), bar(progress), escaped(completedAt ?? '')]))
  const failed = failures.map(({ uuid, error }, index) => row([String(index + 1), escaped(uuid), escaped(error)]))
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="${reloadSeconds}">
<title>Jobs</title>
</head>
<body>
<h1>Jobs</h1>
${table(['#', 'UUID', 'Status', 'Progress', 'Completed At'], rows)}
<h2>Last failures</h2>
${table(['#', 'UUID', 'Error'], failed)}
</body>
</html>
`
}

function table (heads: readonly string[], rows: readonly string[]): string {
  const head = heads.map(text => `<th scope="col">${text}</th>`).join('')
  return `<table>\n<thead><tr>${head}</tr></thead>\n<tbody>\n${rows.join('\n')}\n</tbody>\n</table>`
}

function row (cells: readonly string[]): string {
  return `<tr>${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`
}

function bar (progress: number): string {
  const percent = Math.round(progress * 100)
  return `<progress max="100" value="${percent}">${percent} %</progress> ${percent} %`
}

function escaped (text: string): string {
  return text.replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`)
}
