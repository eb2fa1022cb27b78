import type { Job, ServiceEvent } from './api-types.ts'
import { ApiError, ask, pathOf } from './api.ts'
import { needInBackground, onEvent } from './events.ts'

/** The jobs that the user submitted in this tab, until all of them have ended. */

const storageName = 'stablequeue.followed'

export interface Followed {
  readonly unfinished: number
  readonly running: number
  /** Mean progress of the jobs of this round, from 0 to 1. */
  readonly progress: number
  readonly completed: number
  readonly failed: number
}

interface State { status: 'pending' | 'processing' | 'completed' | 'failed' | 'cancelled', progress: number }

const jobs = new Map<string, State>(stored())
const listeners = new Set<(followed: Followed, isEnd: boolean) => void>()
/** Jobs whose state is read soon. */
const unread = new Set<string>()
/** Jobs that are read at once, and the time until the next ones, in milliseconds. */
const readAtOnce = 30
const betweenReads = 10_000
let soon: ReturnType<typeof setTimeout> | undefined
let stopListening: (() => void) | undefined

function stored (): Array<[string, State]> {
  try {
    return JSON.parse(window.sessionStorage.getItem(storageName) ?? '[]')
  } catch {
    return []
  }
}

const isUnfinished = ({ status }: State) => status === 'pending' || status === 'processing'

/** Whether the job is one of them and has not ended. */
function isFollowed (id: string) {
  const state = jobs.get(id)
  return state !== undefined && isUnfinished(state)
}

export function readFollowed (): Followed {
  const all = [...jobs.values()]
  const count = (wanted: State['status']) => all.filter(({ status }) => status === wanted).length
  const sum = all.reduce((total, state) => total + (isUnfinished(state) ? state.progress : 1), 0)
  return {
    unfinished: all.filter(isUnfinished).length,
    running: count('processing'),
    progress: all.length === 0 ? 0 : sum / all.length,
    completed: count('completed'),
    failed: count('failed')
  }
}

/** Follows jobs that were just submitted or retried; a new round begins when all before them have ended. */
export function follow (...ids: readonly string[]) {
  if (ids.length === 0) return
  if (![...jobs.values()].some(isUnfinished)) jobs.clear()
  for (const id of ids) jobs.set(id, { status: 'pending', progress: 0 })
  listen()
  // A quick job can have ended before the answer to its submission was here.
  readSoon(ids, 1000)
  tell(false)
}

/** Calls back with every change; isEnd: the last of the followed jobs has just ended. */
export function onFollowed (listener: (followed: Followed, isEnd: boolean) => void) {
  listeners.add(listener)
  if ([...jobs.values()].some(isUnfinished)) {
    listen()
    readAgain()
  }
  return () => { listeners.delete(listener) }
}

function listen () {
  needInBackground(() => [...jobs.values()].some(isUnfinished))
  stopListening ??= onEvent(onAnyEvent)
}

function onAnyEvent ({ kind, job_id: id, data = {} }: ServiceEvent) {
  if (kind === 'reset') readAgain()
  const state = id === undefined || id === null ? undefined : jobs.get(id)
  if (id === undefined || id === null || state === undefined || !isUnfinished(state)) return
  if (kind === 'started') change(id, { status: 'processing', progress: 0 })
  else if (kind === 'progress') change(id, { status: 'processing', progress: Number(data.progress) || 0 })
  else if (kind === 'returned') change(id, { status: 'pending', progress: 0 })
  else if (kind === 'completed' || kind === 'failed' || kind === 'cancelled') change(id, { status: kind, progress: 1 })
  else if (kind === 'removed') change(id, { status: 'cancelled', progress: 1 })
}

function change (id: string, state: State) {
  jobs.set(id, state)
  tell(!isUnfinished(state) && ![...jobs.values()].some(isUnfinished))
}

/** After a gap in the events: what became of the jobs meanwhile. */
function readAgain () {
  readSoon(jobs.keys(), 0)
}

function readSoon (ids: Iterable<string>, delay: number) {
  for (const id of ids) unread.add(id)
  clearTimeout(soon)
  soon = setTimeout(readSome, delay)
}

/** Reads some of the unread jobs, and the rest later, so that a thousand of them are no burst of requests. */
async function readSome () {
  const some = [...unread].slice(0, readAtOnce)
  for (const id of some) {
    unread.delete(id)
    if (!isFollowed(id)) continue
    try {
      const { job: { status, progress_percentage: percent } } = await ask<{ job: Job }>('GET', pathOf('/api/v2/jobs', id))
      // An event can have been faster.
      if (isFollowed(id) && status !== jobs.get(id)?.status) change(id, { status, progress: percent / 100 })
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) change(id, { status: 'cancelled', progress: 1 })
    }
  }
  if (unread.size > 0) readSoon([], betweenReads)
}

function tell (isEnd: boolean) {
  try {
    window.sessionStorage.setItem(storageName, JSON.stringify([...jobs]))
  } catch { /* without storage, a reload ends the following */ }
  if (isEnd) {
    stopListening?.()
    stopListening = undefined
  }
  const followed = readFollowed()
  for (const listener of listeners) listener(followed, isEnd)
}
