import { isUnreachable, sentenceOf } from '../lib/api.js'
import { html } from '../lib/html.js'

/** Over what was read before an attempt to read it anew failed. That nobody answers at all is said around all pages. */
export function Stale ({ error }) {
  if (error === null || isUnreachable(error)) return null
  return html`<p class="notice problem-notice" role="alert">${sentenceOf(error)} This page is possibly out of date.</p>`
}
