import { reachable, unreachable } from '../lib/api.ts'
import { useEffect, useState } from 'preact/hooks'
import { common } from '../texts/en/common.ts'

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
      {common.unreachable}
    </p>
  )
}
