import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'

/** A part of a form for rare needs; opens by itself if it contains values. */
export function More ({ summary, needed, children }: {
  summary: string
  needed: boolean
  children?: ComponentChildren
}) {
  const element = useRef<HTMLDetailsElement>(null)
  useEffect(() => { if (needed && element.current !== null) element.current.open = true }, [needed])
  return <details ref={element}><summary>{summary}</summary>{children}</details>
}
