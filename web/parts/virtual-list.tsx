import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'

/** Rows beyond the visible ones, so that quick scrolling shows no gap. */
const margin = 8

/**
 * A list of any length; only the visible rows exist in the page. The variable `--row` gives their height in rem.
 * @param props row returns the content of a list item
 */
export function VirtualList ({ total, label, onShow, row, onKeyDown }: {
  total: number
  label: string
  onShow: (from: number, to: number) => void
  row: (index: number) => ComponentChildren
  onKeyDown: (event: KeyboardEvent) => void
}) {
  const element = useRef<HTMLUListElement>(null)
  const [sight, setSight] = useState({ from: 0, to: 20, height: 84 })

  useLayoutEffect(() => {
    let frame: number | undefined
    function measure () {
      frame = undefined
      if (element.current === null) return
      const rem = Number.parseFloat(window.getComputedStyle(document.documentElement).fontSize)
      const height = Number.parseFloat(window.getComputedStyle(element.current).getPropertyValue('--row')) * rem
      const above = -element.current.getBoundingClientRect().top
      const from = Math.max(0, Math.floor(above / height) - margin)
      const to = Math.ceil((above + window.innerHeight) / height) + margin
      setSight(before => {
        const isSame = before.from === from && before.to === to && before.height === height
        return isSame ? before : { from, to, height }
      })
    }
    const soon = () => { frame ??= window.requestAnimationFrame(measure) }
    measure()
    window.addEventListener('scroll', soon, { passive: true })
    window.addEventListener('resize', soon)
    return () => {
      if (frame !== undefined) window.cancelAnimationFrame(frame)
      window.removeEventListener('scroll', soon)
      window.removeEventListener('resize', soon)
    }
  }, [total])

  const last = Math.min(total, sight.to) - 1
  useEffect(() => { if (last >= sight.from) onShow(sight.from, last) }, [sight.from, last, onShow])

  const indexes = Array.from({ length: Math.max(0, last - sight.from + 1) }, (_, offset) => sight.from + offset)
  return (
    <ul class='jobs endless' ref={element} onKeyDown={onKeyDown} aria-label={label} style={{ height: `${total * sight.height}px` }}>
      {indexes.map(index => (
        <li
          key={index} class='job' aria-setsize={total} aria-posinset={index + 1}
          style={{ top: `${index * sight.height}px` }}
        >
          {row(index)}
        </li>
      ))}
    </ul>
  )
}
