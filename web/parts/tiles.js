import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from '../lib/html.js'
import { layOut, rowsBetween } from '../lib/tiles.js'
import { Icon } from './icon.js'

/** How far beyond the window tiles exist, in pixels. */
const margin = 900

/**
 * Any number of images as tiles by day; only the visible ones exist in the page. The arrow keys move the focus, Enter
 * opens an image, Space selects it, Delete asks to delete it.
 */
export function Tiles ({ images, hasMore, selection, onMore, onOpen, onDelete }) {
  const element = useRef(null)
  const [width, setWidth] = useState(0)
  const [sight, setSight] = useState({ above: 0, below: 2000 })
  const [current, setCurrent] = useState(0)
  const wantsFocus = useRef(false)
  const layout = useMemo(() => width === 0 ? null : layOut(images, width), [images, width])

  useLayoutEffect(() => {
    let frame
    function measure () {
      frame = undefined
      if (element.current === null) return
      const { top, width: found } = element.current.getBoundingClientRect()
      setWidth(Math.floor(found))
      const above = -top - margin
      const below = -top + window.innerHeight + margin
      setSight(before => Math.abs(before.above - above) < 200 && before.below - below === before.above - above
        ? before
        : { above, below })
    }
    const soon = () => { frame ??= window.requestAnimationFrame(measure) }
    measure()
    const observer = new window.ResizeObserver(soon)
    observer.observe(element.current)
    window.addEventListener('scroll', soon, { passive: true })
    window.addEventListener('resize', soon)
    return () => {
      window.cancelAnimationFrame(frame)
      observer.disconnect()
      window.removeEventListener('scroll', soon)
      window.removeEventListener('resize', soon)
    }
  }, [])

  const height = layout?.height ?? 0
  const isNearEnd = layout !== null && hasMore && sight.below > height - margin
  useEffect(() => { if (isNearEnd) onMore() }, [isNearEnd, height])

  const focused = Math.min(current, images.length - 1)
  // Keys arrive faster than the page renders: each continues from the tile that the key before it reached.
  const heading = useRef(focused)
  if (!wantsFocus.current) heading.current = focused
  useEffect(() => {
    if (!wantsFocus.current) return
    // A further key can have moved the focus before this rendering.
    const tile = element.current.querySelector(`[data-index="${heading.current}"]`)
    if (tile === null) return
    wantsFocus.current = false
    tile.focus()
  })

  function moveTo (index) {
    const to = Math.max(0, Math.min(images.length - 1, index))
    setCurrent(to)
    heading.current = to
    wantsFocus.current = true
    const row = layout.rows.find(({ from, to: end }) => from !== undefined && to >= from && to < end)
    const top = element.current.getBoundingClientRect().top + window.scrollY + row.top
    if (top < window.scrollY + 80) window.scrollTo({ top: top - 80 })
    else if (top + row.height > window.scrollY + window.innerHeight - 80) {
      window.scrollTo({ top: top + row.height - window.innerHeight + 80 })
    }
  }

  /** The tile below or above, also across the heading of a day. */
  function beside (direction) {
    const tiles = layout.rows.filter(({ from }) => from !== undefined)
    const here = heading.current
    const at = tiles.findIndex(({ from, to }) => here >= from && here < to)
    const next = tiles[at + direction]
    return next === undefined ? here : Math.min(next.from + here - tiles[at].from, next.to - 1)
  }

  function onKeyDown (event) {
    const targets = {
      ArrowRight: () => heading.current + 1,
      ArrowLeft: () => heading.current - 1,
      ArrowDown: () => beside(1),
      ArrowUp: () => beside(-1),
      Home: () => 0,
      End: () => images.length - 1
    }
    if (event.target.dataset.index === undefined) return
    if (targets[event.key] !== undefined) moveTo(targets[event.key]())
    else if (event.key === ' ') selection.toggle(heading.current, event.shiftKey)
    else if (event.key === 'Delete') onDelete(images[heading.current])
    else return
    event.preventDefault()
  }

  const rows = layout === null ? [] : rowsBetween(layout.rows, sight.above, sight.below)
  return html`
    <div class="tiles" ref=${element} style=${{ height: `${height}px` }} onKeyDown=${onKeyDown} role="group" aria-label="Images">
      ${rows.map(row => row.day !== undefined
        ? html`
          <h2 key=${row.day} class="tiles-day" style=${{ top: `${row.top}px`, height: `${row.height}px` }}>
            ${row.day} <span class="hint numbers">${row.count}</span>
          </h2>`
        : html`
          <div key=${images[row.from].filename} class="tiles-row" style=${{ top: `${row.top}px` }}>
            ${images.slice(row.from, row.to).map((image, offset) => html`
              <${Tile} key=${image.filename} image=${image} index=${row.from + offset} side=${layout.side}
                isFocused=${row.from + offset === focused} isChosen=${selection.has(image.filename)}
                onFocus=${setCurrent} onOpen=${onOpen} onToggle=${selection.toggle} />`)}
          </div>`)}
    </div>`
}

function Tile ({ image, index, side, isFocused, isChosen, onFocus, onOpen, onToggle }) {
  const [isBroken, setBroken] = useState(false)
  const words = image.prompt || 'no prompt'
  return html`
    <div class=${isChosen ? 'tile chosen' : 'tile'} style=${{ width: `${side}px`, height: `${side}px` }}>
      <button type="button" class="tile-picture" data-index=${index} tabindex=${isFocused ? '0' : '-1'} aria-label="Open: ${words}"
        onFocus=${() => onFocus(index)} onClick=${() => onOpen(index)}>
        ${isBroken
          ? html`<${Icon} name="image" />`
          : html`<img src=${image.thumbnail_url} alt="" decoding="async" onError=${() => setBroken(true)} />`}
      </button>
      <label class="tile-check">
        <input type="checkbox" checked=${isChosen} tabindex="-1" aria-label="Choose: ${words}"
          onClick=${event => onToggle(index, event.shiftKey)} />
      </label>
    </div>`
}
