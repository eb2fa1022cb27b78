import { reachable, unreachable } from '../lib/api.js'
import { html, useEffect, useState } from '../lib/html.js'

/** A notice while the service does not answer. The visible page retries meanwhile. */
export function Unreachable () {
  const [isAway, setAway] = useState(false)
  useEffect(() => {
    const [leave, come] = [() => setAway(true), () => setAway(false)]
    window.addEventListener(unreachable, leave)
    window.addEventListener(reachable, come)
    return () => {
      window.removeEventListener(unreachable, leave)
      window.removeEventListener(reachable, come)
    }
  }, [])
  if (!isAway) return null
  return html`
    <p class="notice problem-notice" role="alert">
      The service does not answer; it is possibly restarting. This page shows its last state and updates itself when the service is back.
      If it does not come back, check its log.
    </p>`
}
