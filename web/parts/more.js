import { html, useEffect, useRef } from '../lib/html.js'

/** A part of a form for rare needs; opens by itself if it contains values. */
export function More ({ summary, needed, children }) {
  const element = useRef(null)
  useEffect(() => { if (needed) element.current.open = true }, [needed])
  return html`<details ref=${element}><summary>${summary}</summary>${children}</details>`
}
