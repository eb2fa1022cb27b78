import type { GalleryImage } from '../lib/api-types.ts'
import type { Chosen } from '../pages/gallery.tsx'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { thumbnailOf } from '../lib/images.ts'
import { hasImages, layOut, rowsBetween } from '../lib/tiles.ts'
import { isPlainClick, type Viewer } from '../lib/viewer.ts'
import { Icon } from './icon.tsx'
import { t } from '../texts/en/gallery.ts'

/** How far beyond the window tiles exist, in pixels. */
const margin = 900

/**
 * Any number of images as tiles by day; only the visible ones exist in the page. The arrow keys move the focus, Enter
 * opens an image, Space selects it, Delete asks to delete it.
 */
export function Tiles ({ images, hasMore, selection, viewer, onMore, onDelete }: {
  images: readonly GalleryImage[]
  hasMore: boolean
  selection: Chosen
  onMore: () => void
  viewer: Viewer
  onDelete: (image: GalleryImage) => void
}) {
  const element = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  const [sight, setSight] = useState({ above: 0, below: 2000 })
  const [current, setCurrent] = useState(0)
  const wantsFocus = useRef(false)
  const layout = useMemo(() => width === 0 ? null : layOut(images, width), [images, width])

  useLayoutEffect(() => {
    let frame: number | undefined
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
    if (element.current !== null) observer.observe(element.current)
    window.addEventListener('scroll', soon, { passive: true })
    window.addEventListener('resize', soon)
    return () => {
      if (frame !== undefined) window.cancelAnimationFrame(frame)
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
    const tile = element.current?.querySelector<HTMLElement>(`[data-index="${heading.current}"]`)
    if (!tile) return
    wantsFocus.current = false
    tile.focus()
  })

  const imageRows = layout?.rows.filter(hasImages) ?? []

  function moveTo (index: number) {
    const to = Math.max(0, Math.min(images.length - 1, index))
    setCurrent(to)
    heading.current = to
    wantsFocus.current = true
    const row = imageRows.find(({ from, to: end }) => to >= from && to < end)
    if (row === undefined || element.current === null) return
    const top = element.current.getBoundingClientRect().top + window.scrollY + row.top
    if (top < window.scrollY + 80) window.scrollTo({ top: top - 80 })
    else if (top + row.height > window.scrollY + window.innerHeight - 80) {
      window.scrollTo({ top: top + row.height - window.innerHeight + 80 })
    }
  }

  /** The tile below or above, also across the heading of a day. */
  function beside (direction: 1 | -1) {
    const here = heading.current
    const at = imageRows.findIndex(({ from, to }) => here >= from && here < to)
    const [row, next] = [imageRows[at], imageRows[at + direction]]
    return row === undefined || next === undefined ? here : Math.min(next.from + here - row.from, next.to - 1)
  }

  function onKeyDown (event: KeyboardEvent) {
    const targets: Readonly<Record<string, () => number>> = {
      ArrowRight: () => heading.current + 1,
      ArrowLeft: () => heading.current - 1,
      ArrowDown: () => beside(1),
      ArrowUp: () => beside(-1),
      Home: () => 0,
      End: () => images.length - 1
    }
    if (!(event.target instanceof HTMLElement) || event.target.dataset.index === undefined) return
    const target = targets[event.key]
    const image = images[heading.current]
    if (target !== undefined) moveTo(target())
    else if (event.key === ' ') selection.toggle(heading.current, event.shiftKey)
    else if (event.key === 'Delete' && image !== undefined) onDelete(image)
    else return
    event.preventDefault()
  }

  const rows = layout === null ? [] : rowsBetween(layout.rows, sight.above, sight.below)
  return (
    <div
      class='tiles' ref={element} style={{ height: `${height}px` }} onKeyDown={onKeyDown}
      role='group' aria-label={t.images}
    >
      {rows.map(row => !hasImages(row)
        ? (
          <h2 key={row.day} class='tiles-day' style={{ top: `${row.top}px`, height: `${row.height}px` }}>
            {row.day} <span class='hint numbers'>{row.count}</span>
          </h2>
          )
        : (
          <div key={images[row.from]?.filename} class='tiles-row' style={{ top: `${row.top}px` }}>
            {images.slice(row.from, row.to).map((image, offset) => (
              <Tile
                key={image.filename} image={image} index={row.from + offset} side={layout?.side ?? 0}
                isFocused={row.from + offset === focused} isChosen={selection.has(image.filename)}
                onFocus={setCurrent} viewer={viewer} onToggle={selection.toggle}
              />
            ))}
          </div>
          ))}
    </div>
  )
}

function Tile ({ image, index, side, isFocused, isChosen, onFocus, viewer, onToggle }: {
  image: GalleryImage
  index: number
  side: number
  isFocused: boolean
  isChosen: boolean
  onFocus: (index: number) => void
  viewer: Viewer
  onToggle: (index: number, withShift: boolean) => void
}) {
  const [isBroken, setBroken] = useState(false)
  const words = image.prompt || t.noPrompt
  return (
    <div class={isChosen ? 'tile chosen' : 'tile'} style={{ width: `${side}px`, height: `${side}px` }}>
      <a
        href={viewer.addressOf(image.filename)} class='tile-picture' data-index={index} tabindex={isFocused ? 0 : -1}
        aria-label={t.openWords(words)} onFocus={() => onFocus(index)}
        onClick={event => { if (isPlainClick(event)) { event.preventDefault(); viewer.show(image.filename) } }}
      >
        {isBroken
          ? <Icon name='image' />
          : <img src={thumbnailOf(image)} alt='' decoding='async' onError={() => setBroken(true)} />}
      </a>
      <label class='tile-check'>
        <input
          type='checkbox' checked={isChosen} tabindex={-1} aria-label={t.chooseWords(words)}
          onClick={event => onToggle(index, event.shiftKey)}
        />
      </label>
    </div>
  )
}
