import { parseRoute } from './router.ts'

/**
 * The scroll position of each entry of the browser's history, so that Back, Forward and a reload show the same place.
 * The browser cannot restore it by itself, because the content arrives after the page is there.
 */

const storageName = 'stablequeue.places'
const mostPlaces = 100
/** How long a page may take to become long enough, and how long the position must hold, in milliseconds. */
const patience = 10_000
const steady = 500

/** The state of an entry: its name, and the address of the entry that linked to it. */
interface Entry {
  readonly entry: string
  readonly from: string
}

const places = new Map<string, number>(storedPlaces())
let current = entryOf(window.history.state) ?? adopt('')
let address = window.location.hash
/** The position that the page is being brought to; null when it is there or the user took over. */
let wanted: number | null = null
let stopRestoring = () => {}

function storedPlaces (): Array<[string, number]> {
  try {
    return JSON.parse(window.sessionStorage.getItem(storageName) ?? '[]')
  } catch {
    return []
  }
}

function entryOf (state: unknown): Entry | undefined {
  return typeof state === 'object' && state !== null && 'entry' in state ? state as Entry : undefined
}

function newEntry (from: string): Entry {
  return { entry: `${Date.now()}.${Math.random()}`, from }
}

/** Names the current entry of the history. */
function adopt (from: string) {
  const entry = newEntry(from)
  window.history.replaceState(entry, '')
  return entry
}

function remember () {
  places.delete(current.entry)
  places.set(current.entry, wanted ?? window.scrollY)
  for (const oldest of [...places.keys()].slice(0, -mostPlaces)) places.delete(oldest)
}

function store () {
  remember()
  try {
    window.sessionStorage.setItem(storageName, JSON.stringify([...places]))
  } catch { /* without storage, places last as long as the page */ }
}

/** Scrolls to a position as soon as the page is long enough, unless the user scrolls. */
function restore (position: number) {
  stopRestoring()
  window.scrollTo(0, position)
  if (position === 0) return
  const stop = new AbortController()
  const end = () => {
    wanted = null
    stop.abort()
  }
  wanted = position
  stopRestoring = end
  for (const kind of ['wheel', 'touchstart', 'pointerdown', 'keydown']) window.addEventListener(kind, end, stop)
  const begun = Date.now()
  let reached: number | null = null
  function step () {
    if (stop.signal.aborted) return
    if (Math.abs(window.scrollY - position) >= 2) {
      reached = null
      window.scrollTo(0, position)
    } else reached ??= Date.now()
    if (Date.now() - begun > patience || (reached !== null && Date.now() - reached > steady)) end()
    else window.requestAnimationFrame(step)
  }
  step()
}

/** Follows a link, Back or Forward, before the pages do. */
function follow () {
  const known = entryOf(window.history.state)
  if (known?.entry === current.entry) {
    address = window.location.hash
    return
  }
  remember()
  current = known ?? adopt(address)
  address = window.location.hash
  restore(places.get(current.entry) ?? 0)
}

/** Adds an entry to the history that shows the page where it is, such as an image in front of it. */
export function pushAddress (hash: string) {
  remember()
  const position = window.scrollY
  current = newEntry(address)
  window.history.pushState(current, '', hash)
  address = hash
  places.set(current.entry, position)
}

/** Whether the entry before this one is such a page. @param isIt receives its route */
export function cameFrom (isIt: (before: ReturnType<typeof parseRoute>) => boolean) {
  return current.from !== '' && isIt(parseRoute(current.from))
}

/** For links to the page that the user came from: goes back to it, to the same place and filters. */
export function backTo (name: string) {
  return (event: MouseEvent) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return
    if (!cameFrom(before => before.name === name)) return
    event.preventDefault()
    window.history.back()
  }
}

/** To be called once, before the first page. */
export function keepPlaces () {
  window.history.scrollRestoration = 'manual'
  window.addEventListener('hashchange', follow)
  window.addEventListener('pagehide', store)
  restore(places.get(current.entry) ?? 0)
}
