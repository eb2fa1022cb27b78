import { sentenceOf } from '../lib/api.ts'
import type { ComponentChildren } from 'preact'
import { common } from '../texts/en/common.ts'
/** Heading of a page. Gets the focus when the page opens, so that screen readers read it out. */
export function PageHead ({ title, children }: { title: string, children?: ComponentChildren }) {
  return (
    <header class='page-head'>
      <h1 tabindex={-1}>{title}</h1>
      {children && <div class='page-tools'>{children}</div>}
    </header>
  )
}

/** A notice for missing or outdated data. */
export function Loading ({ error, sentence }: { error?: unknown, sentence?: string }) {
  if (error !== null && error !== undefined) return <p class='notice problem-notice' role='alert'>{sentence ?? sentenceOf(error)}</p>
  return <p class='muted' role='status'>{common.loading}</p>
}
