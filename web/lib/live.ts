import type { JobStatus, ListedJob, ServiceEvent } from './api-types.ts'
import { changesJobs, receivesEvents, onEvent } from './events.ts'
import { useEffect, useRef, useState } from 'preact/hooks'

/** Interval of requests while no events arrive, in milliseconds. */
export const often = 2000
export const seldom = 10_000

/** Events within this time lead to one request, and the least time between two of these, in milliseconds. */
const gather = 250
const betweenRequests = 1000

/** The events that concern a view; `reset` concerns all. */
export const aboutJobs: About = changesJobs
type About = (event: ServiceEvent) => boolean

export const aboutServers: About = ({ kind }) => kind.startsWith('server-') || kind.startsWith('queue-')
export const aboutQueue: About = ({ kind }) => kind.startsWith('queue-')
export const aboutDownloads: About = ({ kind }) => kind.startsWith('download-')
export const aboutScans: About = ({ kind }) => kind === 'models-scanned' || kind === 'scan-progress'
export const aboutScanned: About = ({ kind }) => kind === 'models-scanned'
export const aboutDeliveries: About = ({ kind }) => kind === 'delivery' || kind === 'opened'
export const aboutAll: About = event => aboutJobs(event) || aboutServers(event)
export const aboutJob = (id: string): About => event => event.job_id === id && aboutJobs(event)
export const aboutDeliveriesOf = (id: string): About => event =>
  aboutDeliveries(event) && (event.job_id === id || event.job_id === undefined)

export interface Live<Data> {
  /** Undefined until the first answer; after a change of the inputs it stays until the next answer. */
  readonly data: Data | undefined
  readonly error: unknown
  readonly reload: () => void
}

/**
 * Keeps data up to date while the tab is visible: loads them again after a relevant event, and at an interval while no
 * events arrive.
 * @param inputs a change of any of them loads again
 * @param [options] interval null: once
 * @returns data is undefined until the first answer; after a change
 *   of the inputs it stays until the next answer
 */
export function useLive<Data> (
  load: (signal: AbortSignal) => Promise<Data>, inputs: readonly unknown[],
  { interval = often, about = aboutAll }: { interval?: number | null, about?: About } = {}
): Live<Data> {
  const [state, setState] = useState<{ data: Data | undefined, error: unknown }>({ data: undefined, error: null })
  const again = useRef(() => {})

  useEffect(() => {
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    let soon: ReturnType<typeof setTimeout> | undefined
    let begun = -Infinity
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
      begun = performance.now()
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
      if (!document.hidden && !stop.signal.aborted) timer = setTimeout(ask, interval ?? seldom)
    }

    function onAnyEvent (event: ServiceEvent) {
      if (event.kind === 'closed') return later()
      if (event.kind !== 'reset' && !about(event)) return
      isStale = true
      if (!document.hidden) soon ??= setTimeout(ask, Math.max(gather, begun + betweenRequests - performance.now()))
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
const fieldsOfEvent: Readonly<Record<string, (data: Readonly<Record<string, unknown>>) => object>> = {
  progress: data => ({ ...data, progress_percentage: Math.round((Number(data.progress) || 0) * 1000) / 10 }),
  preview: ({ url }) => ({ preview_url: url }),
  place: ({ position, ...times }) => ({ queue_position: position, place: position, ...times })
}
const states: Readonly<Record<string, JobStatus>> = { progress: 'processing', preview: 'processing', place: 'pending' }

/** A job with the later changes from events: progress and preview, or its position. */
export function useProgress<Shown extends Pick<ListedJob, 'id' | 'status'> | undefined> (job: Shown): Shown {
  const [updates, setUpdates] = useState({})
  const { id, status }: Partial<Pick<ListedJob, 'id' | 'status'>> = job ?? {}
  const isActive = status === 'processing' || status === 'pending'

  useEffect(() => {
    setUpdates({})
    if (!isActive) return
    return onEvent(({ kind, job_id: of, data = {} }) => {
      if (of === id && states[kind] === status) setUpdates(before => ({ ...before, ...fieldsOfEvent[kind]?.(data) }))
    })
  }, [id, status])

  return isActive ? { ...job, ...updates } as Shown : job
}

/** The last published length of a server's queue, in seconds; null before the first one. */
export function useQueueSeconds (alias: string) {
  const [seconds, setSeconds] = useState<number | null>(null)
  useEffect(() => onEvent(({ kind, server, data = {} }) => {
    if (kind === 'queue' && server === alias) setSeconds(Number(data.predicted_seconds))
  }), [alias])
  return seconds
}
