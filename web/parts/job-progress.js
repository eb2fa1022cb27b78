import { secondsText } from '../lib/format.js'
import { html } from '../lib/html.js'

/** The progress of a running job. */
export function JobProgress ({ job }) {
  const percent = Math.round(job.progress_percentage)
  const left = job.estimated_time_remaining ?? job.eta_seconds ?? null
  return html`
    <div class="progress">
      <progress max="100" value=${percent} aria-label="Progress">${percent} %</progress>
      <span class="numbers">${percent} %</span>
      ${job.step !== null && job.steps && html`<span class="muted numbers minor">step ${job.step} of ${job.steps}</span>`}
      ${left !== null && html`<span class="muted numbers">about ${secondsText(left)} left</span>`}
    </div>`
}
