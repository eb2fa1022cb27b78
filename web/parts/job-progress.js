import { secondsText } from '../lib/format.js'
import { html } from '../lib/html.js'

/** How far a running job is. */
export function JobProgress ({ job }) {
  const percent = Math.round(job.progress_percentage)
  const left = job.estimated_time_remaining ?? job.eta_seconds ?? null
  const details = [
    job.step !== null && job.steps ? `step ${job.step} of ${job.steps}` : '',
    left === null ? '' : `about ${secondsText(left)} left`
  ].filter(Boolean)
  return html`
    <div class="progress">
      <progress max="100" value=${percent} aria-label="Progress">${percent} %</progress>
      <span class="numbers">${percent} %</span>
      ${details.length > 0 && html`<span class="muted numbers">${details.join(', ')}</span>`}
    </div>`
}
