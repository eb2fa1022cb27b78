import { html } from '../lib/html.js'

/** Heading of a page. Gets the focus when the page opens, so that screen readers read it out. */
export function PageHead ({ title, children }) {
  return html`
    <header class="page-head">
      <h1 tabindex="-1">${title}</h1>
      ${children && html`<div class="page-tools">${children}</div>`}
    </header>`
}

/** A notice for missing or outdated data. */
export function Loading ({ error, sentence }) {
  if (error !== null && error !== undefined) return html`<p class="notice problem-notice" role="alert">${sentence}</p>`
  return html`<p class="muted" role="status">Loading…</p>`
}
