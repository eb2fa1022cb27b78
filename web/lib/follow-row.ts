/** How long the focus follows a moved job, in milliseconds. */
const followed = 2000

/**
 * Keeps the focus on the controls of a job that moves to another row.
 * @param place the control that had it: the value of its `data-place`
 */
export function followJob (id: string, place: string) {
  const until = Date.now() + followed
  const stop = new AbortController()
  const end = () => stop.abort()
  /** Where the focus is unless the user moves it; rows are used again for other jobs. */
  let known = document.activeElement
  for (const kind of ['pointerdown', 'keydown', 'wheel', 'touchstart', 'scroll']) window.addEventListener(kind, end, stop)
  function look () {
    const active = document.activeElement
    if (stop.signal.aborted || (active !== document.body && active !== known) || Date.now() > until) return end()
    const [own] = [place, 'up', 'down'].flatMap(name =>
      document.querySelector<HTMLElement>(`[data-of="${id}"][data-place="${name}"]:not(:disabled)`) ?? [])
    if (own !== undefined && own !== active) {
      own.focus({ preventScroll: true })
      known = own
    }
    window.requestAnimationFrame(look)
  }
  look()
}

/**
 * Alt and an arrow key move the job of the row that has the focus; with Shift, to the top or the end. Alt and B take it
 * to the background or back.
 */
export function moveByKey (event: KeyboardEvent) {
  const { altKey, ctrlKey, metaKey, target } = event
  const place = placeOf(event)
  if (!altKey || ctrlKey || metaKey || place === undefined || !(target instanceof Element)) return
  event.preventDefault()
  target.closest('li')?.querySelector<HTMLElement>(`[data-place="${place}"]`)?.click()
}

/** The control of a key. With Alt, some keyboards type other letters, so the letter is known by its key. */
function placeOf ({ key, code, shiftKey }: KeyboardEvent) {
  if (key === 'ArrowUp') return shiftKey ? 'first' : 'up'
  if (key === 'ArrowDown') return shiftKey ? 'last' : 'down'
  return code === 'KeyB' && !shiftKey ? 'lane' : undefined
}
