import { html, useEffect, useRef } from '../lib/html.js'

/** A part of a form that is seldom needed; opens by itself when there is something to see in it. */
export function More ({ summary, needed, children }) {
  const element = useRef(null)
  useEffect(() => { if (needed) element.current.open = true }, [needed])
  return html`<details ref=${element}><summary>${summary}</summary>${children}</details>`
}
