import { reachable, unreachable } from '../lib/api.ts'
import { useEffect, useState } from 'preact/hooks'

/** A notice while the service does not answer. The visible page retries meanwhile. */
export function Unreachable () {
  const [isShown, setShown] = useState(false)
  useEffect(() => {
    const [onUnreachable, onReachable] = [() => setShown(true), () => setShown(false)]
    window.addEventListener(unreachable, onUnreachable)
    window.addEventListener(reachable, onReachable)
    return () => {
      window.removeEventListener(unreachable, onUnreachable)
      window.removeEventListener(reachable, onReachable)
    }
  }, [])
  if (!isShown) return null
  return (
    <p class='notice problem-notice' role='alert'>
      The service does not answer; it is possibly restarting. This page shows its last state and updates itself when
      the service is back.
      If it does not come back, check its log.
    </p>
  )
}
