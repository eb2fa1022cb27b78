import { ago, duration, momentText, plural } from '../lib/format.js'
import { html } from '../lib/html.js'
import { Icon } from './icon.js'
import { JobActions } from './job-actions.js'
import { JobProgress } from './job-progress.js'
import { Status } from './status.js'

/** One job of the queue. */
export function JobRow ({ job, onChanged }) {
  const { prompt, width, height, steps } = job.generation_params
  const picture = job.images.find(({ role }) => role === 'image')
  const address = `#/job/${job.id}`
  return html`
    <li class="job">
      <a class="job-picture" href=${address} tabindex="-1" aria-hidden="true">
        ${picture
          ? html`<img src=${picture.url} alt="" width=${picture.width} height=${picture.height} loading="lazy" decoding="async" />`
          : html`<${Icon} name=${job.status === 'failed' ? 'warning' : job.status === 'pending' ? 'clock' : 'image'} />`}
      </a>
      <div class="job-text">
        <h3><a href=${address}>${prompt || 'No prompt'}</a></h3>
        <p class="facts">
          <span>${job.target_server_alias}</span>
          <span class="numbers">${width} × ${height}</span>
          <span class="numbers">${plural(steps, 'step')}</span>
          ${job.images.length > 1 && html`<span>${plural(job.images.length, 'image')}</span>`}
          <span title=${momentText(job.creation_timestamp)}>${timeOf(job)}</span>
        </p>
        ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
        ${job.error !== null && html`<p class="problem">${job.error.message}</p>`}
      </div>
      <div class="job-side">
        <${Status} status=${job.status} note=${noteOf(job)} />
        <${JobActions} job=${job} onDone=${onChanged} />
      </div>
    </li>`
}

function noteOf (job) {
  if (job.cancel_requested) return 'being cancelled'
  return job.queue_position === null ? '' : `no. ${job.queue_position} in line`
}

function timeOf (job) {
  if (job.status === 'processing' && job.started_timestamp !== null) return `runs for ${duration(job.started_timestamp, null)}`
  if (job.status === 'completed' && job.started_timestamp !== null) {
    return `${ago(job.completion_timestamp)}, took ${duration(job.started_timestamp, job.completion_timestamp)}`
  }
  return job.status === 'pending' ? `waits for ${duration(job.creation_timestamp, null)}` : ago(job.completion_timestamp)
}
