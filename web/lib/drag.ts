/** Moving a row of a list by its handle, with a mouse or a finger. */

/** The distance from the edge of the window at which it scrolls, and the step of one frame, in pixels. */
const edge = 70
const step = 12

export interface Drop {
  readonly id: string
  readonly side: 'before' | 'after'
  /** That of the job there. */
  readonly lane: string
}

const marks = { before: 'drop-before', after: 'drop-after' } as const

/** The job of a row with a handle. */
const idOf = (row: Element | null | undefined) => row?.querySelector<HTMLElement>('[data-drag]')?.dataset.drag

/** Where a pointer at this height would drop; undefined outside of the list. */
function dropAt (list: Element, y: number): Drop & { row: Element } | undefined {
  const { left, width } = list.getBoundingClientRect()
  const row = document.elementFromPoint(left + width / 2, y)?.closest('li')
  const id = idOf(row)
  if (!row || id === undefined || !list.contains(row)) return undefined
  const { top, height } = row.getBoundingClientRect()
  const { lane = '' } = row.querySelector<HTMLElement>('[data-drag]')?.dataset ?? {}
  return { id, row, lane, side: y < top + height / 2 ? 'before' : 'after' }
}

/** Follows the pointer until it is released; Escape gives up. @param id the job of the handle */
export function dragRow (event: PointerEvent, id: string, onDrop: (drop: Drop) => void) {
  const list = event.target instanceof Element ? event.target.closest('ul') : null
  if (list === null || event.button !== 0) return
  event.preventDefault()
  const stop = new AbortController()
  let { clientY: y } = event
  let over: ReturnType<typeof dropAt>

  function look () {
    if (stop.signal.aborted || list === null) return
    if (y < edge) window.scrollBy(0, -step)
    else if (y > window.innerHeight - edge) window.scrollBy(0, step)
    const next = dropAt(list, y)
    if (next?.row !== over?.row || next?.side !== over?.side) {
      over?.row.classList.remove(marks[over.side])
      if (next?.id !== id) next?.row.classList.add(marks[next.side])
      over = next
    }
    window.requestAnimationFrame(look)
  }

  function end () {
    stop.abort()
    over?.row.classList.remove(marks[over.side])
    document.body.classList.remove('dragging')
  }

  window.addEventListener('pointermove', ({ clientY }) => { y = clientY }, stop)
  window.addEventListener('pointercancel', end, stop)
  window.addEventListener('keydown', ({ key }) => { if (key === 'Escape') end() }, stop)
  window.addEventListener('pointerup', ({ clientY }) => {
    const drop = dropAt(list, clientY)
    end()
    if (drop !== undefined && drop.id !== id) onDrop({ id: drop.id, side: drop.side, lane: drop.lane })
  }, stop)
  document.body.classList.add('dragging')
  look()
}
