import { useRef, useState } from 'preact/hooks'

/** Milliseconds after an action in which another click belongs to the same double click. */
export const doubleClick = 500

export interface Once {
  /** Whether the action runs or has just ended well. */
  readonly busy: boolean
  /** Runs an action unless it is busy. @param act returns whether a second click does harm */
  readonly once: (act: () => Promise<boolean>) => Promise<void>
}

/** Makes one action of a double click, also where the answer takes long. */
export function useOnce (): Once {
  const [busy, setBusy] = useState(false)
  /** The same at once: the page renders too late for a second click. */
  const isBlocked = useRef(false)

  async function once (act: () => Promise<boolean>) {
    if (isBlocked.current) return
    isBlocked.current = true
    setBusy(true)
    const isHarmful = await act().catch(() => false)
    if (isHarmful) await new Promise(resolve => { setTimeout(resolve, doubleClick) })
    isBlocked.current = false
    setBusy(false)
  }

  return { busy, once }
}
