import { isUnreachable, sentenceOf } from '../lib/api.js'
import { html } from '../lib/html.js'

/** A notice above old data after a failed reload. The frame says if the service does not answer at all. */
export function Stale ({ error }) {
  if (error === null || isUnreachable(error)) return null
  return html`<p class="notice problem-notice" role="alert">${sentenceOf(error)} This page is possibly out of date.</p>`
}
