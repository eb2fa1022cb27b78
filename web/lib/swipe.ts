import { useEffect, useRef } from 'preact/hooks'

/** Shortest swipe in pixels, and its ratio of horizontal to vertical movement. */
const least = 45
const horizontalRatio = 1.5

/**
 * Reports swipes over an element. In a zoomed image a swipe moves the visible part instead.
 * @param onSwipe 1: to the next image on the right
 */
export function useSwipe (element: { current: HTMLElement | null }, onSwipe: (direction: 1 | -1) => void) {
  const latest = useRef(onSwipe)
  latest.current = onSwipe

  useEffect(() => {
    const place = element.current
    let start: { x: number, y: number } | null = null

    function onStart ({ touches }: TouchEvent) {
      const isZoomed = (window.visualViewport?.scale ?? 1) > 1.05
      const [touch] = touches
      start = touch !== undefined && touches.length === 1 && !isZoomed ? { x: touch.clientX, y: touch.clientY } : null
    }
    function onEnd ({ changedTouches: [touch] }: TouchEvent) {
      if (start === null || touch === undefined) return
      const [dx, dy] = [touch.clientX - start.x, touch.clientY - start.y]
      start = null
      if (Math.abs(dx) >= least && Math.abs(dx) > Math.abs(dy) * horizontalRatio) latest.current(dx < 0 ? 1 : -1)
    }
    const onCancel = () => { start = null }
    place?.addEventListener('touchstart', onStart, { passive: true })
    place?.addEventListener('touchend', onEnd, { passive: true })
    place?.addEventListener('touchcancel', onCancel, { passive: true })
    return () => {
      place?.removeEventListener('touchstart', onStart)
      place?.removeEventListener('touchend', onEnd)
      place?.removeEventListener('touchcancel', onCancel)
    }
  }, [])
}
