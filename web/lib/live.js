import { changesJobs, hearsEvents, onEvent } from './events.js'
import { useEffect, useRef, useState } from './html.js'

/** How often what is looked at is asked for again where no events come, in milliseconds. */
export const often = 2000
export const seldom = 10_000

/** Events that come close together lead to one question, in milliseconds. */
const gather = 250

/** Which events a view is about; `reset` concerns all. */
export const aboutJobs = changesJobs
export const aboutServers = ({ kind }) => kind.startsWith('server-') || kind.startsWith('queue-')
export const aboutQueue = ({ kind }) => kind.startsWith('queue-')
export const aboutDownloads = ({ kind }) => kind.startsWith('download-')
export const aboutScans = ({ kind }) => kind === 'models-scanned' || kind === 'scan-progress'
export const aboutScanned = ({ kind }) => kind === 'models-scanned'
export const aboutDeliveries = ({ kind }) => kind === 'delivery' || kind === 'opened'
export const aboutAll = event => aboutJobs(event) || aboutServers(event)
export const aboutJob = id => event => event.job_id === id && aboutJobs(event)
export const aboutDeliveriesOf = id => event => aboutDeliveries(event) && [id, undefined].includes(event.job_id)

/**
 * Keeps something up to date while the tab is visible: it is asked for again when an event says that it changed, and
 * every now and then where no events come.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {unknown[]} inputs a change of any of them asks anew
 * @param {{ interval?: number | null, about?: (event: object) => boolean }} [options] interval null: once
 * @returns {{ data: any, error: unknown, reload: () => void }} data is undefined until the first answer, and that of
 *   the former inputs until the next one
 */
export function useLive (load, inputs, { interval = often, about = aboutAll } = {}) {
  const [state, setState] = useState({ data: undefined, error: null })
  const again = useRef(() => {})

  useEffect(() => {
    const stop = new AbortController()
    let timer
    let soon
    let asking = false
    let wantsMore = false
    let isStale = false

    async function ask () {
      clearTimeout(timer)
      clearTimeout(soon)
      soon = undefined
      wantsMore = asking
      if (asking || stop.signal.aborted) return
      asking = true
      isStale = false
      let failed = false
      try {
        const data = await load(stop.signal)
        if (!stop.signal.aborted) setState({ data, error: null })
      } catch (error) {
        failed = true
        if (!stop.signal.aborted) setState(before => ({ ...before, error }))
      }
      asking = false
      if (wantsMore) ask()
      else if (interval !== null && (failed || !hearsEvents())) later()
    }

    function later () {
      clearTimeout(timer)
      if (!document.hidden && !stop.signal.aborted) timer = setTimeout(ask, interval)
    }

    function onNews (event) {
      if (event.kind === 'closed') return later()
      if (event.kind !== 'reset' && !about(event)) return
      isStale = true
      if (!document.hidden) soon ??= setTimeout(ask, gather)
    }

    function onVisibility () {
      if (document.hidden) clearTimeout(timer)
      else if (interval !== null && (isStale || !hearsEvents())) ask()
    }

    again.current = () => { ask() }
    const endNews = interval === null ? () => {} : onEvent(onNews)
    document.addEventListener('visibilitychange', onVisibility)
    ask()
    return () => {
      stop.abort()
      clearTimeout(timer)
      clearTimeout(soon)
      endNews()
      document.removeEventListener('visibilitychange', onVisibility)
    }
  }, [...inputs, interval])

  return { ...state, reload: () => again.current() }
}

/** What an event says of a job that is shown, under the names that a job has it. */
const told = {
  progress: data => ({ ...data, progress_percentage: Math.round((data.progress ?? 0) * 1000) / 10 }),
  preview: ({ url }) => ({ preview_url: url }),
  place: ({ position, ...times }) => ({ queue_position: position, ...times })
}
const states = { progress: 'processing', preview: 'processing', place: 'pending' }

/**
 * A job with what events told of it since it was read: progress and preview, or its place in line.
 * @param {object | undefined} job
 */
export function useProgress (job) {
  const [news, setNews] = useState({})
  const { id, status } = job ?? {}
  const isActive = status === 'processing' || status === 'pending'

  useEffect(() => {
    setNews({})
    if (!isActive) return
    return onEvent(({ kind, job_id: of, data }) => {
      if (of === id && states[kind] === status) setNews(before => ({ ...before, ...told[kind](data) }))
    })
  }, [id, status])

  return isActive ? { ...job, ...news } : job
}

/** What was told last of how much a server has before it; null before anything was. */
export function useAhead (alias) {
  const [ahead, setAhead] = useState(null)
  useEffect(() => onEvent(({ kind, server, data }) => { if (kind === 'queue' && server === alias) setAhead(data) }), [alias])
  return ahead
}
