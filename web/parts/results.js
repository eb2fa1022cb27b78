import { adviceFor } from '../lib/advice.js'
import { endText, placeText, startText } from '../lib/expectation.js'
import { html } from '../lib/html.js'
import { aboutJob, useLive, useProgress } from '../lib/live.js'
import { jobs } from '../lib/service.js'
import { JobImages } from './job-images.js'
import { JobProgress } from './job-progress.js'
import { Status } from './status.js'

/**
 * The results of the jobs that the user submitted here.
 * @param {{ submitted: Array<{ id: string, label: string }> }} props
 */
export function Results ({ submitted }) {
  if (submitted.length === 0) return html`<p class="empty">The images of your jobs will appear here.</p>`
  return html`
    <ul class=${submitted.length > 1 ? 'results many' : 'results'}>
      ${submitted.map(({ id, label }) => html`<li key=${id}><${Result} id=${id} label=${label} /></li>`)}
    </ul>`
}

function Result ({ id, label }) {
  const { data } = useLive(signal => jobs.read(id, signal), [id], { about: aboutJob(id) })
  const job = useProgress(data)
  if (job === undefined) return html`<p class="empty">In queue.</p>`
  return html`
    ${label && html`<h3>${label}</h3>`}
    <p class="job-status" role="status">
      <${Status} status=${job.status} note=${placeText(job)} />
      ${job.status === 'pending' && html`<span class="muted">${[startText(job), endText(job)].filter(Boolean).join(', ')}</span>`}
      <a href="#/job/${job.id}">Details</a>
    </p>
    ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
    ${job.error !== null && html`
      <div class="notice problem-notice">
        <p>${job.error.message}</p>
        ${adviceFor(job.error.code) && html`<p>${adviceFor(job.error.code)}</p>`}
      </div>`}
    ${job.warnings.map(({ message }) => html`<p key=${message} class="hint">${message}</p>`)}
    ${job.images.length === 0 && job.error === null && (job.preview_url
      ? html`<img class="preview" src=${job.preview_url} alt="Preview" />`
      : html`<p class="empty">${job.generation_params.prompt}</p>`)}
    <${JobImages} job=${job} />`
}
