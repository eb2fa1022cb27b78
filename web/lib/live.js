import { useEffect, useRef, useState } from './html.js'

/** How often what is looked at is asked for again, in milliseconds. */
export const often = 2000
export const seldom = 10_000

/**
 * Keeps something up to date while the tab is visible. The only place that knows how news get here: today they are
 * asked for.
 * @param {(signal: AbortSignal) => Promise<any>} load
 * @param {unknown[]} inputs a change of any of them asks anew
 * @param {number | null} [interval] null: once
 * @returns {{ data: any, error: unknown, reload: () => void }} data is undefined until the first answer, and that of
 *   the former inputs until the next one
 */
export function useLive (load, inputs, interval = often) {
  const [state, setState] = useState({ data: undefined, error: null })
  const again = useRef(() => {})

  useEffect(() => {
    const stop = new AbortController()
    let timer
    let asking = false
    let wantsMore = false

    async function ask () {
      clearTimeout(timer)
      wantsMore = asking
      if (asking || stop.signal.aborted) return
      asking = true
      try {
        const data = await load(stop.signal)
        if (!stop.signal.aborted) setState({ data, error: null })
      } catch (error) {
        if (!stop.signal.aborted) setState(before => ({ ...before, error }))
      }
      asking = false
      if (wantsMore) ask()
      else if (interval !== null && !document.hidden && !stop.signal.aborted) timer = setTimeout(ask, interval)
    }

    function onVisibility () {
      if (document.hidden) clearTimeout(timer)
      else if (interval !== null) ask()
    }

    again.current = () => { ask() }
    document.addEventListener('visibilitychange', onVisibility)
    ask()
    return () => {
      stop.abort()
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisibility)
    }
  }, [...inputs, interval])

  return { ...state, reload: () => again.current() }
}
