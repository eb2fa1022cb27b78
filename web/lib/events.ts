import type { ServiceEvent } from './api-types.ts'
import { addressOf } from './api.ts'
import { parseExactly } from './exact-json.ts'

/** Events of the service: one connection for all listeners of these pages. */

/** Changes of jobs, and events that the service sends only to clients that are connected at that moment. */
const changes = ['accepted', 'started', 'image', 'completed', 'failed', 'cancelled', 'returned', 'moved', 'removed', 'image-removed']
const ephemeral = ['progress', 'preview', 'place', 'queue']
const ofServers = [
  'server-added', 'server-changed', 'server-removed', 'server-up', 'server-down', 'server-paused', 'server-resumed',
  'server-draining', 'server-drained',
  'queue-paused', 'queue-resumed'
]
const ofModels = [
  'download-added', 'download-progress', 'download-completed', 'download-failed', 'download-cancelled', 'scan-progress', 'models-scanned'
]
const kinds = [...changes, ...ephemeral, ...ofServers, ...ofModels, 'delivery']
/** The service sends previews and deliveries only to clients that list all kinds that they want. */
const address = addressOf(`/api/v1/events?kinds=${kinds.join()}`)

/**
 * In milliseconds: the pause before the page retries a rejected connection, and the time for which it keeps a
 * connection without listeners or in a background tab. Browsers open few connections at a time to one address.
 */
const retryPause = 5000
const idleLifetime = 2000
const inBackground = 5000
const longestWait = 400

const listeners: Set<(event: ServiceEvent) => void> = new Set()
let source: EventSource | null = null
let timer: ReturnType<typeof setTimeout> | undefined
let isOpen = false
let wasOpen = false
let whenDecided = () => {}
let isNeededInBackground = () => false

/**
 * Connects before anything listens, and resolves once events arrive, or nearly at once if they do not: what the page
 * reads afterwards needs no second reading.
 */
export async function connectEarly () {
  if (source === null && !document.hidden) connect()
  await new Promise<void>(resolve => {
    const patience = setTimeout(resolve, longestWait)
    whenDecided = () => {
      clearTimeout(patience)
      resolve()
    }
    if (isOpen) whenDecided()
  })
  clearTimeout(timer)
  if (listeners.size === 0) timer = setTimeout(disconnect, inBackground)
}

/** Whether events arrive at the moment. */
export function receivesEvents () {
  return isOpen
}

/**
 * Calls back with every event, with `{ kind: 'reset' }` if some could be missing, with `{ kind: 'closed' }` when the
 * connection ends, and with `{ kind: 'opened' }` when it is there again. Returns a function that removes the listener.
 */
export function onEvent (listener: (event: ServiceEvent) => void) {
  listeners.add(listener)
  clearTimeout(timer)
  if (source === null && !document.hidden) connect()
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) timer = setTimeout(disconnect, idleLifetime)
  }
}

/** Whether an event changes the content of job lists. */
export function changesJobs ({ kind }: ServiceEvent) {
  return changes.some(change => change === kind)
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer)
  if (document.hidden) timer = setTimeout(rest, inBackground)
  else if (source === null && listeners.size > 0) connect()
})

/** Keeps the connection in a background tab while isNeeded says so. */
export function needInBackground (isNeeded: () => boolean) {
  isNeededInBackground = isNeeded
}

function rest () {
  if (isNeededInBackground()) timer = setTimeout(rest, inBackground)
  else disconnect()
}

function connect () {
  const opened = new window.EventSource(address)
  source = opened
  opened.onopen = () => {
    isOpen = true
    // The browser asks for missed events if it kept the last id; a new connection has none. It can never ask for
    // events that the service sends only to connected clients.
    emit({ kind: wasOpen ? 'opened' : 'reset' })
    wasOpen = true
    whenDecided()
  }
  opened.onerror = () => {
    isOpen = false
    whenDecided()
    emit({ kind: 'closed' })
    if (opened.readyState !== window.EventSource.CLOSED) return
    disconnect()
    timer = setTimeout(() => { if (listeners.size > 0) connect() }, retryPause)
  }
  for (const kind of [...kinds, 'reset']) {
    opened.addEventListener(kind, ({ data }) => { emit(parseExactly(data) as ServiceEvent) })
  }
}

/** Ends the connection; the next listener opens another one. */
export function disconnect () {
  source?.close()
  source = null
  isOpen = false
  wasOpen = false
}

function emit (event: ServiceEvent) {
  for (const listener of listeners) listener(event)
}
