import { changesJobs, receivesEvents, onEvent } from './events.js'
import { useEffect, useRef, useState } from './html.js'

/** Interval of requests while no events arrive, in milliseconds. */
export const often = 2000
export const seldom = 10_000

/** Events within this time lead to one request, in milliseconds. */
const gather = 250

/** The events that concern a view; `reset` concerns all. */
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
 * Keeps data up to date while the tab is visible: loads them again after a relevant event, and at an interval while no
 * events arrive.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {unknown[]} inputs a change of any of them loads again
 * @param {{ interval?: number | null, about?: (event: object) => boolean }} [options] interval null: once
 * @returns {{ data: any, error: unknown, reload: () => void }} data is undefined until the first answer; after a change
 *   of the inputs it stays until the next answer
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
      else if (interval !== null && (failed || !receivesEvents())) later()
    }

    function later () {
      clearTimeout(timer)
      if (!document.hidden && !stop.signal.aborted) timer = setTimeout(ask, interval)
    }

    function onAnyEvent (event) {
      if (event.kind === 'closed') return later()
      if (event.kind !== 'reset' && !about(event)) return
      isStale = true
      if (!document.hidden) soon ??= setTimeout(ask, gather)
    }

    function onVisibility () {
      if (document.hidden) clearTimeout(timer)
      else if (interval !== null && (isStale || !receivesEvents())) ask()
    }

    again.current = () => { ask() }
    const stopListening = interval === null ? () => {} : onEvent(onAnyEvent)
    document.addEventListener('visibilitychange', onVisibility)
    ask()
    return () => {
      stop.abort()
      clearTimeout(timer)
      clearTimeout(soon)
      stopListening()
      document.removeEventListener('visibilitychange', onVisibility)
    }
  }, [...inputs, interval])

  return { ...state, reload: () => again.current() }
}

/** The fields of an event that a shown job has too, under the job's names. */
const fieldsOfEvent = {
  progress: data => ({ ...data, progress_percentage: Math.round((data.progress ?? 0) * 1000) / 10 }),
  preview: ({ url }) => ({ preview_url: url }),
  place: ({ position, ...times }) => ({ queue_position: position, ...times })
}
const states = { progress: 'processing', preview: 'processing', place: 'pending' }

/**
 * A job with the later changes from events: progress and preview, or its position.
 * @param {object | undefined} job
 */
export function useProgress (job) {
  const [updates, setUpdates] = useState({})
  const { id, status } = job ?? {}
  const isActive = status === 'processing' || status === 'pending'

  useEffect(() => {
    setUpdates({})
    if (!isActive) return
    return onEvent(({ kind, job_id: of, data }) => {
      if (of === id && states[kind] === status) setUpdates(before => ({ ...before, ...fieldsOfEvent[kind](data) }))
    })
  }, [id, status])

  return isActive ? { ...job, ...updates } : job
}

/** The last published length of a server's queue; null before the first one. */
export function useQueueLoad (alias) {
  const [load, setLoad] = useState(null)
  useEffect(() => onEvent(({ kind, server, data }) => { if (kind === 'queue' && server === alias) setLoad(data) }), [alias])
  return load
}
