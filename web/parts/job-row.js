import { placeText, serverText, startText } from '../lib/expectation.js'
import { ago, duration, momentText, plural } from '../lib/format.js'
import { html } from '../lib/html.js'
import { isEnlarging } from '../lib/inputs.js'
import { useProgress } from '../lib/live.js'
import { JobActions } from './job-actions.js'
import { JobPicture } from './job-picture.js'
import { JobProgress } from './job-progress.js'
import { Status } from './status.js'

/**
 * One job of a list.
 * @param {{ job: object, onChanged: () => void, check?: { isChosen: boolean, onToggle: (withShift: boolean) => void },
 *   place?: object }} props check makes the row selectable; place: controls that move the job in its queue
 */
export function JobRow ({ job: read, onChanged, check, place }) {
  const job = useProgress(read)
  const { prompt, width, height, steps } = job.generation_params
  const name = prompt || (isEnlarging(job) ? 'Upscaling an image' : 'No prompt')
  const address = `#/job/${job.id}`
  return html`
    ${check && html`
      <label class="job-check">
        <input type="checkbox" aria-label="Choose: ${name.slice(0, 80)}" checked=${check.isChosen}
          onClick=${event => check.onToggle(event.shiftKey)} />
      </label>`}
    <a class="job-picture" href=${address} tabindex="-1" aria-hidden="true"><${JobPicture} job=${job} /></a>
    <div class="job-text">
      <h3><a href=${address}>${name}</a></h3>
      <p class="facts">
        <span>${serverText(job)}</span>
        ${width !== undefined && html`<span class="numbers minor">${width} × ${height}</span>`}
        ${steps !== undefined && html`<span class="numbers minor">${plural(steps, 'step')}</span>`}
        ${job.images.length > 1 && html`<span>${plural(job.images.length, 'image')}</span>`}
        ${job.status === 'pending' && job.priority !== 5 && html`<span>priority ${job.priority}</span>`}
        ${timesOf(job).map((text, index, all) => html`
          <span key=${index} class=${index < all.length - 1 ? 'minor' : undefined} title=${momentText(job.creation_timestamp)}>${text}</span>`)}
      </p>
      ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
      ${job.error !== null && html`<p class="problem" title=${job.error.message}>${job.error.message}</p>`}
    </div>
    <div class="job-side">
      ${place ? html`<span class="status still">${noteOf(job)}</span>` : html`<${Status} status=${job.status} note=${noteOf(job)} />`}
      <div class="actions">
        ${place}
        <${JobActions} job=${job} onDone=${onChanged} />
      </div>
    </div>`
}

function noteOf (job) {
  if (job.cancel_requested) return 'being cancelled'
  return placeText(job)
}

/** The times of a job, the most important last: a phone shows only that one. */
function timesOf (job) {
  if (job.status === 'processing' && job.started_timestamp !== null) return [`runs for ${duration(job.started_timestamp, null)}`]
  if (job.status === 'completed' && job.started_timestamp !== null) {
    return [`took ${duration(job.started_timestamp, job.completion_timestamp)}`, ago(job.completion_timestamp)]
  }
  if (job.status !== 'pending') return [ago(job.completion_timestamp)]
  return [`waits for ${duration(job.creation_timestamp, null)}`, startText(job)].filter(Boolean)
}
