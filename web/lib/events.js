import { parseExactly } from './exact-json.js'

/** News of the service, over one connection for all that listen on these pages. */

/** What becomes of jobs, and what is told only to who listens at that moment. */
const changes = ['accepted', 'started', 'image', 'completed', 'failed', 'cancelled', 'returned', 'moved', 'removed', 'image-removed']
const passing = ['progress', 'preview', 'place', 'queue']
const ofServers = [
  'server-added', 'server-changed', 'server-removed', 'server-up', 'server-down', 'server-paused', 'server-resumed',
  'queue-paused', 'queue-resumed'
]
const ofModels = [
  'download-added', 'download-progress', 'download-completed', 'download-failed', 'download-cancelled', 'scan-progress', 'models-scanned'
]
const kinds = [...changes, ...passing, ...ofServers, ...ofModels, 'delivery']
/** Previews and deliveries are told only to those who name all that they want. */
const path = `/api/v1/events?kinds=${kinds.join()}`

/**
 * Pause before a connection that was refused is tried again, and how long one stays that nobody uses or that belongs to
 * a tab in the background, in milliseconds. Browsers open few connections at a time to one address.
 */
const retryPause = 5000
const lingering = 2000
const inBackground = 5000

const listeners = new Set()
let source = null
let timer
let isOpen = false
let wasOpen = false

/** Whether news come by themselves. */
export function hearsEvents () {
  return isOpen
}

/**
 * Calls back with every event; with `{ kind: 'reset' }` when some may have been missed, with `{ kind: 'closed' }` when
 * no more come for the time being, and with `{ kind: 'opened' }` when they come again. Returns what ends it.
 */
export function onEvent (listener) {
  listeners.add(listener)
  clearTimeout(timer)
  if (source === null && !document.hidden) connect()
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0) timer = setTimeout(disconnect, lingering)
  }
}

/** Whether an event changes what lists of jobs say. */
export function changesJobs ({ kind }) {
  return changes.includes(kind)
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer)
  if (document.hidden) timer = setTimeout(disconnect, inBackground)
  else if (source === null && listeners.size > 0) connect()
})

function connect () {
  source = new window.EventSource(path)
  source.onopen = () => {
    isOpen = true
    // The browser asks for what came meanwhile where it kept the connection's place, which a new one has not. What is
    // told only to who listens it cannot ask for.
    tell({ kind: wasOpen ? 'opened' : 'reset' })
    wasOpen = true
  }
  source.onerror = () => {
    isOpen = false
    tell({ kind: 'closed' })
    if (source.readyState !== window.EventSource.CLOSED) return
    disconnect()
    timer = setTimeout(() => { if (listeners.size > 0) connect() }, retryPause)
  }
  for (const kind of [...kinds, 'reset']) {
    source.addEventListener(kind, ({ data }) => { tell(parseExactly(data)) })
  }
}

function disconnect () {
  source?.close()
  source = null
  isOpen = false
  wasOpen = false
}

function tell (event) {
  for (const listener of listeners) listener(event)
}
