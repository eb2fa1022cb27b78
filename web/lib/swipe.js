import { useEffect, useRef } from './html.js'

/** Shortest swipe in pixels, and its ratio of horizontal to vertical movement. */
const least = 45
const horizontalRatio = 1.5

/**
 * Reports swipes over an element. In a zoomed image a swipe moves the visible part instead.
 * @param {{ current: Element | null }} element
 * @param {(direction: 1 | -1) => void} onSwipe 1: to the next image on the right
 */
export function useSwipe (element, onSwipe) {
  const latest = useRef(onSwipe)
  latest.current = onSwipe

  useEffect(() => {
    const place = element.current
    let start = null

    function onStart ({ touches }) {
      const isZoomed = (window.visualViewport?.scale ?? 1) > 1.05
      start = touches.length === 1 && !isZoomed ? { x: touches[0].clientX, y: touches[0].clientY } : null
    }
    function onEnd ({ changedTouches: [touch] }) {
      if (start === null) return
      const [dx, dy] = [touch.clientX - start.x, touch.clientY - start.y]
      start = null
      if (Math.abs(dx) >= least && Math.abs(dx) > Math.abs(dy) * horizontalRatio) latest.current(dx < 0 ? 1 : -1)
    }
    const listeners = { touchstart: onStart, touchend: onEnd, touchcancel: () => { start = null } }
    for (const [name, listener] of Object.entries(listeners)) place.addEventListener(name, listener, { passive: true })
    return () => {
      for (const [name, listener] of Object.entries(listeners)) place.removeEventListener(name, listener)
    }
  }, [])
}
