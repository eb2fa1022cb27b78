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

/** Follows a job that was just submitted; a new round begins when all before it have ended. */
export function follow (id: string) {
  if (![...jobs.values()].some(isUnfinished)) jobs.clear()
  jobs.set(id, { status: 'pending', progress: 0 })
  listen()
  // A quick job can have ended before the answer to its submission was here.
  clearTimeout(soon)
  soon = setTimeout(readAgain, 1000)
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
async function readAgain () {
  for (const [id, before] of [...jobs].filter(([, state]) => isUnfinished(state))) {
    try {
      const { job: { status, progress_percentage: percent } } = await ask<{ job: Job }>('GET', pathOf('/api/v2/jobs', id))
      if (status !== before.status) change(id, { status, progress: percent / 100 })
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) change(id, { status: 'cancelled', progress: 1 })
    }
  }
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
