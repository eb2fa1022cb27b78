import type { Group, JobPage, JobQuery, JobStatus, ListedJob } from './api-types.ts'
import { receivesEvents, onEvent } from './events.ts'
import { useEffect, useRef, useState } from 'preact/hooks'
import { aboutJobs, often } from './live.ts'
import { readGroups, readQueue } from './queue-service.ts'
import { jobs } from './service.ts'
import { t } from '../texts/en/queue.ts'

export const pageSize = 50
/** Most jobs that a search shows. */
const searchLimit = 1000
/** Most jobs of one answer. */
const mostOfPage = 1000
/** Most jobs that one action names. */
const mostNamed = 20_000
const gather = 300
/** A search covers jobs of all states. */
const gatherSearch = 1500

export interface JobFilter {
  /** Empty: jobs of all states. */
  readonly status: JobStatus | ''
  readonly server: string
  readonly search: string
  readonly order: 'asc' | 'desc' | 'line'
}

export interface JobPages {
  /** Jobs that match; undefined until the first answer. */
  readonly total: number | undefined
  /** Jobs that the list can show. */
  readonly shown: number
  /** The time of the count by the service's clock. */
  readonly asOf: string
  readonly error: unknown
  /** Increases with every change. */
  readonly version: number
  readonly at: (index: number) => ListedJob | undefined
  /** How far a group of the visible jobs is. */
  readonly groupOf: (id: string | null | undefined) => Group | undefined
  readonly show: (from: number, to: number) => void
  readonly reload: () => void
  readonly idsBetween: (from: number, to: number) => Promise<string[]>
}

/**
 * A list of any length that reads only the visible pages of jobs.
 * @returns total: jobs that match; shown: jobs that the list can show; asOf: the time of
 *   the count by the service's clock
 */
export function useJobPages (filter: JobFilter): JobPages {
  const [version, setVersion] = useState(0)
  const name = JSON.stringify(filter)
  const feed = useRef<ReturnType<typeof openFeed>>(null)
  if (feed.current?.name !== name) {
    feed.current?.close()
    feed.current = openFeed(name, filter, () => setVersion(before => before + 1))
  }

  useEffect(() => {
    const { current } = feed
    if (current === null) return
    current.show(0, pageSize - 1)
    let soon: ReturnType<typeof setTimeout> | undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    const refresh = () => {
      clearTimeout(timer)
      clearTimeout(soon)
      soon = undefined
      if (!document.hidden) current.refresh()
      if (!receivesEvents()) timer = setTimeout(refresh, often)
    }
    const end = onEvent(event => {
      if (event.kind === 'reset' || event.kind === 'closed' || aboutJobs(event)) soon ??= setTimeout(refresh, filter.search === '' ? gather : gatherSearch)
    })
    document.addEventListener('visibilitychange', refresh)
    timer = setTimeout(refresh, often)
    return () => {
      end()
      clearTimeout(soon)
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', refresh)
      current.close()
    }
  }, [name])

  return { ...feed.current.view(), version }
}

function openFeed (name: string, filter: JobFilter, onChange: () => void) {
  const stop = new AbortController()
  const { search } = filter
  let pages = new Map<number, ListedJob[]>()
  let total: number | undefined
  let asOf = ''
  let error: unknown = null
  let sight = { from: 0, to: pageSize - 1 }
  let groups: ReadonlyMap<string, Group> = new Map()
  const requested = new Set<number>()

  const query = (more: Partial<JobQuery>): Partial<JobQuery> => {
    const { status, server, search, order } = filter
    return { ...status !== '' && { status }, ...server !== '' && { server }, ...search !== '' && { search }, order, ...more }
  }

  /** The queue has the counts of the groups of its jobs too. */
  async function readPage (part: { limit: number, offset: number }) {
    if (filter.order !== 'line') return await jobs.list(query(part), stop.signal)
    const found = await readQueue({ server: filter.server, ...part }, stop.signal)
    groups = new Map([...groups, ...found.groups])
    return { jobs: [...found.waiting], total: found.total_waiting, as_of: found.as_of }
  }

  async function read (page: number) {
    if (requested.has(page)) return
    requested.add(page)
    try {
      const answer = search === ''
        ? await readPage({ limit: pageSize, offset: page * pageSize })
        : await jobs.list(query({ limit: searchLimit }), stop.signal)
      total = answer.total
      asOf = answer.as_of
      if (search === '') pages.set(page, answer.jobs)
      else pages = new Map(pagesOf(answer.jobs))
      error = null
    } catch (failure) {
      if (stop.signal.aborted) return
      error = failure
    } finally {
      requested.delete(page)
    }
    if (stop.signal.aborted) return
    onChange()
    await countGroups(true)
  }

  /** @param again false: only if the counts of a visible group are unknown */
  async function countGroups (again: boolean) {
    if (filter.order === 'line') return
    const visible = Array.from({ length: sight.to - sight.from + 1 }, (_, index) => at(sight.from + index))
    if (!again && visible.every(job => !job?.group || groups.has(job.group))) return
    const found = await readGroups(visible, stop.signal).catch(() => groups)
    if (stop.signal.aborted || (found.size === 0 && groups.size === 0)) return
    groups = found
    onChange()
  }

  /** Numbers of the visible pages; a search has one answer. */
  function visiblePages () {
    if (search !== '') return [0]
    const first = Math.floor(sight.from / pageSize)
    const last = Math.floor(sight.to / pageSize)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  }

  function at (index: number): ListedJob | undefined {
    return pages.get(Math.floor(index / pageSize))?.[index % pageSize]
  }

  /** The ids of jobs of the list, in pages that stay in step while jobs come and go, where the order allows that. */
  async function readIds (from: number, count: number) {
    const ids: string[] = []
    let cursor: string | null = null
    while (ids.length < count) {
      const start: Partial<JobQuery> = cursor === null ? { offset: from + ids.length } : { cursor }
      const page: Pick<JobPage, 'next_cursor'> & { jobs: ListedJob[] } = await jobs.list(query({ ...start, limit: Math.min(count - ids.length, mostOfPage) }), stop.signal)
      if (page.jobs.length === 0) break
      ids.push(...page.jobs.map(({ id }) => id))
      cursor = page.next_cursor ?? null
    }
    return ids
  }

  return {
    name,
    show (from: number, to: number) {
      sight = { from, to }
      for (const page of visiblePages()) if (!pages.has(page)) read(page)
      countGroups(false)
    },
    refresh () {
      const wanted = visiblePages()
      // Other pages are read again when they become visible.
      for (const page of [...pages.keys()]) if (search === '' && !wanted.includes(page)) pages.delete(page)
      for (const page of wanted) read(page)
    },
    close () { stop.abort() },
    view (): Omit<JobPages, 'version'> {
      return {
        total,
        shown: search === '' ? total ?? 0 : Math.min(total ?? 0, searchLimit),
        asOf,
        error,
        at,
        groupOf: id => id ? groups.get(id) : undefined,
        show: this.show,
        reload: this.refresh,
        async idsBetween (from: number, to: number) {
          const known = Array.from({ length: to - from + 1 }, (_, index) => at(from + index)?.id)
          if (known.every(id => id !== undefined)) return known
          if (to - from >= mostNamed) throw new Error(t.tooManyBetween(mostNamed))
          return await readIds(from, to - from + 1)
        }
      }
    }
  }
}

function pagesOf (found: readonly ListedJob[]) {
  const count = Math.ceil(found.length / pageSize)
  return Array.from({ length: count }, (_, page) =>
    [page, found.slice(page * pageSize, (page + 1) * pageSize)] as const)
}
