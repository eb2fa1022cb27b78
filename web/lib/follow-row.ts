/** How long the focus follows a moved job, and how long it waits for one that left the list, in milliseconds. */
const followed = 2000
const patience = 300
/** How far from the edge of the window a row is shown, in pixels. */
const margin = 200
/** Most presses that wait for the one before. */
const mostPresses = 20

/** A move that runs: the neighbour before it, the presses to come, and when another one can begin anyway. */
let moving: { beside: string | undefined, presses: string[], until: number } | null = null

/** Ends the following of the job before. */
let endFormer = () => {}

const controlOf = (id: string, place: string) =>
  document.querySelector<HTMLElement>(`[data-of="${id}"][data-place="${place}"]:not(:disabled)`) ?? undefined

/**
 * Keeps the focus on the controls of a job that moves to another row.
 * @param place the control that had it: the value of its `data-place`
 * @param edge the end of a long list to which the page goes with the job; without it, the page stays where it is
 */
export function followJob (id: string, place: string, edge?: 'first' | 'last') {
  const row = document.activeElement?.closest('li') ?? null
  const list = row?.closest('ul') ?? null
  const index = list === null ? -1 : [...list.children].indexOf(row as Element)
  const until = Date.now() + followed
  const stop = new AbortController()
  const end = () => stop.abort()
  endFormer()
  endFormer = end
  /** Where the focus is unless the user moves it; rows are used again for other jobs. */
  let known = document.activeElement
  let lostAt: number | null = null
  for (const kind of ['pointerdown', 'wheel', 'touchstart']) window.addEventListener(kind, end, stop)
  window.addEventListener('keydown', ({ key, defaultPrevented }) => {
    if (!defaultPrevented && key !== 'Alt' && key !== 'Shift') end()
  }, stop)
  if (edge !== undefined && list?.classList.contains('endless')) showEdge(list, edge)

  function look () {
    const active = document.activeElement
    if (stop.signal.aborted || (active !== document.body && active !== known)) return end()
    const own = [place, 'up', 'down'].flatMap(name => controlOf(id, name) ?? [])[0]
    if (own !== undefined && own !== active) {
      own.focus({ preventScroll: true })
      known = own
    }
    if (active === document.body && own === undefined) lostAt ??= Date.now()
    else lostAt = null
    const isGone = lostAt !== null && !list?.classList.contains('endless') && Date.now() - lostAt > patience
    if (isGone || Date.now() > until) {
      if (lostAt !== null) focusRow(list?.children[Math.min(index, list.children.length - 1)], place)
      return end()
    }
    // At an end of the list the control has no neighbour any more.
    const control = document.querySelector<HTMLElement>(`[data-of="${id}"][data-place="${place}"]`)
    if (moving !== null && control !== null && control.dataset.beside !== moving.beside) pressNext(id)
    window.requestAnimationFrame(look)
  }
  look()
}

function showEdge (list: Element, edge: 'first' | 'last') {
  const { top, bottom } = list.getBoundingClientRect()
  window.scrollTo(0, window.scrollY + (edge === 'first' ? top - margin : bottom + margin - window.innerHeight))
}

/** The row that stands now where the job was before it left the list. */
function focusRow (row: Element | undefined, place: string) {
  const found = [`[data-place="${place}"]`, '[data-place]'].flatMap(name =>
    row?.querySelector<HTMLElement>(`${name}:not(:disabled)`) ?? [])
  found[0]?.focus({ preventScroll: true })
}

function pressNext (id: string) {
  const next = moving?.presses.shift()
  const control = next === undefined ? undefined : controlOf(id, next)
  if (control === undefined || moving === null) moving = null
  else {
    moving = { ...moving, beside: control.dataset.beside, until: Date.now() + followed }
    control.click()
  }
}

/**
 * Alt and an arrow key move the job of the row that has the focus; with Shift, to the top or the end. Alt and B take it
 * to the background or back. Quick presses move it step by step.
 */
export function moveByKey (event: KeyboardEvent) {
  const { altKey, ctrlKey, metaKey, target } = event
  const place = placeOf(event)
  if (!altKey || ctrlKey || metaKey || place === undefined || !(target instanceof Element)) return
  event.preventDefault()
  if (moving !== null && Date.now() < moving.until) {
    if (moving.presses.length < mostPresses) moving.presses.push(place)
    return
  }
  const control = target.closest('li')?.querySelector<HTMLElement>(`[data-place="${place}"]:not(:disabled)`)
  moving = control && (place === 'up' || place === 'down')
    ? { beside: control.dataset.beside, presses: [], until: Date.now() + followed }
    : null
  control?.click()
}

/** The control of a key. With Alt, some keyboards type other letters, so the letter is known by its key. */
function placeOf ({ key, code, shiftKey }: KeyboardEvent) {
  if (key === 'ArrowUp') return shiftKey ? 'first' : 'up'
  if (key === 'ArrowDown') return shiftKey ? 'last' : 'down'
  return code === 'KeyB' && !shiftKey ? 'lane' : undefined
}
