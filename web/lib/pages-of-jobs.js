import { receivesEvents, onEvent } from './events.js'
import { useEffect, useRef, useState } from './html.js'
import { aboutJobs, often } from './live.js'
import { jobs } from './service.js'

export const pageSize = 50
/** Most jobs that a search shows. */
const searchLimit = 1000
const gather = 300
/** A search covers jobs of all states. */
const gatherSearch = 1500

/**
 * A list of any length that reads only the visible pages of jobs.
 * @param {{ status: string, server: string, search: string, order: 'asc' | 'desc' | 'line' }} filter
 * @returns {{ total: number | undefined, shown: number, asOf: string, at: (index: number) => object | undefined,
 *   show: (from: number, to: number) => void, idsBetween: (from: number, to: number) => Promise<string[]>,
 *   error: unknown, reload: () => void }} total: jobs that match; shown: jobs that the list can show; asOf: the time of
 *   the count by the service's clock
 */
export function useJobPages (filter) {
  const [version, setVersion] = useState(0)
  const name = JSON.stringify(filter)
  const feed = useRef(null)
  if (feed.current?.name !== name) {
    feed.current?.close()
    feed.current = openFeed(name, filter, () => setVersion(before => before + 1))
  }

  useEffect(() => {
    const current = feed.current
    current.show(0, pageSize - 1)
    let soon
    let timer
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

function openFeed (name, filter, onChange) {
  const stop = new AbortController()
  const { search } = filter
  let pages = new Map()
  let total
  let asOf
  let error = null
  let sight = { from: 0, to: pageSize - 1 }
  const requested = new Set()

  const query = more => ({ ...filter, ...more })

  async function read (page) {
    if (requested.has(page)) return
    requested.add(page)
    try {
      const answer = search === ''
        ? await jobs.list(query({ limit: pageSize, offset: page * pageSize }), stop.signal)
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
    if (!stop.signal.aborted) onChange()
  }

  /** Numbers of the visible pages; a search has one answer. */
  function visiblePages () {
    if (search !== '') return [0]
    const first = Math.floor(sight.from / pageSize)
    const last = Math.floor(sight.to / pageSize)
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  }

  function at (index) {
    return pages.get(Math.floor(index / pageSize))?.[index % pageSize]
  }

  return {
    name,
    show (from, to) {
      sight = { from, to }
      for (const page of visiblePages()) if (!pages.has(page)) read(page)
    },
    refresh () {
      const wanted = visiblePages()
      // Other pages are read again when they become visible.
      for (const page of [...pages.keys()]) if (search === '' && !wanted.includes(page)) pages.delete(page)
      for (const page of wanted) read(page)
    },
    close () { stop.abort() },
    view () {
      return {
        total,
        shown: search === '' ? total : Math.min(total, searchLimit),
        asOf,
        error,
        at,
        show: this.show,
        reload: this.refresh,
        async idsBetween (from, to) {
          const known = Array.from({ length: to - from + 1 }, (_, index) => at(from + index)?.id)
          if (known.every(id => id !== undefined)) return known
          const answer = await jobs.list(query({ limit: Math.min(to - from + 1, 1000), offset: from }))
          return answer.jobs.map(({ id }) => id)
        }
      }
    }
  }
}

function pagesOf (found) {
  const count = Math.ceil(found.length / pageSize)
  return Array.from({ length: count }, (_, page) => [page, found.slice(page * pageSize, (page + 1) * pageSize)])
}
