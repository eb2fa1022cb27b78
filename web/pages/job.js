import { ApiError, sentenceOf } from '../lib/api.js'
import { bytesText, duration, momentText } from '../lib/format.js'
import { html } from '../lib/html.js'
import { often, useLive } from '../lib/live.js'
import { goTo } from '../lib/router.js'
import { jobs } from '../lib/service.js'
import { CopyButton } from '../parts/copy-button.js'
import { Icon } from '../parts/icon.js'
import { JobActions } from '../parts/job-actions.js'
import { JobImages } from '../parts/job-images.js'
import { JobProgress } from '../parts/job-progress.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { Status } from '../parts/status.js'

const active = ['pending', 'processing']

/** Everything about one job. */
export function JobPage ({ route: { id } }) {
  const { data: job, error, reload } = useLive(signal => jobs.read(id, signal), [id], often)
  if (job === undefined) {
    const isGone = error instanceof ApiError && error.status === 404
    return html`
      <${PageHead} title=${isGone ? 'There is no such job' : 'Job'} />
      <${Loading} error=${error} sentence=${error && sentenceOf(error)} />
      <p><a href="#/queue"><${Icon} name="back" />Back to the queue</a></p>`
  }
  const { prompt, negative_prompt: negative } = job.generation_params
  const place = job.queue_position === null ? '' : `no. ${job.queue_position} in line`
  return html`
    <p class="back"><a href="#/queue"><${Icon} name="back" />Queue</a></p>
    <${PageHead} title=${prompt || 'Job without a prompt'}>
      <${JobActions} job=${job} onDone=${action => action === 'remove' ? goTo('/queue') : reload()} />
    <//>
    <p class="job-status" role="status">
      <${Status} status=${job.status} note=${job.cancel_requested ? 'being cancelled' : place} />
      <span class="muted">on ${job.target_server_alias}</span>
    </p>
    ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
    ${job.error !== null && html`<p class="notice problem-notice">${job.error.message} <code>${job.error.code}</code></p>`}
    ${job.warnings.map(warning => html`<p key=${warning.message} class="notice warning-notice">${warning.message}</p>`)}
    <${JobImages} job=${job} />
    ${job.images.length === 0 && active.includes(job.status) && html`<p class="empty">The images will appear here.</p>`}
    <div class="job-details">
      <section aria-labelledby="parameters">
        <h2 id="parameters">Parameters</h2>
        ${prompt && html`<p class="prompt"><span class="label">Prompt</span>${prompt}</p>`}
        ${negative && html`<p class="prompt"><span class="label">Negative prompt</span>${negative}</p>`}
        <${Facts} facts=${parametersOf(job)} />
        <div class="actions">
          <a class="button" href="#/create?from=${job.id}"><${Icon} name="again" />Use again</a>
          <${CopyButton} label="Copy JSON" what="The job" text=${JSON.stringify(job, null, 2)} />
        </div>
      </section>
      <section aria-labelledby="history">
        <h2 id="history">History</h2>
        <${Facts} facts=${historyOf(job)} />
        <${Attempts} attempts=${job.attempts} />
      </section>
    </div>`
}

function Facts ({ facts }) {
  return html`<dl class="facts-list">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`
}

const elsewhere = new Set(['prompt', 'positive_prompt', 'negative_prompt'])

function parametersOf (job) {
  return Object.entries(job.generation_params)
    .filter(([name, value]) => !elsewhere.has(name) && value !== '' && value !== null)
    .map(([name, value]) => [name, valueText(value)])
}

function valueText (value) {
  if (Array.isArray(value) && value.every(isImage)) return `${value.length} stored`
  if (isImage(value)) return 'stored'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function isImage (value) {
  return typeof value === 'object' && value !== null && '$media' in value
}

function historyOf (job) {
  const bytes = job.images.reduce((sum, image) => sum + image.bytes, 0)
  return [
    ['Job', job.id],
    ['Accepted', momentText(job.creation_timestamp)],
    ['Started', momentText(job.started_timestamp)],
    ['Ended', momentText(job.completion_timestamp)],
    ['Took', job.started_timestamp === null ? '–' : duration(job.started_timestamp, job.completion_timestamp)],
    ['Priority', String(job.priority)],
    ['From', [job.source_info, job.app_type].filter(Boolean).join(', ')],
    ...job.images.length > 0 ? [['Images', `${job.images.length}, ${bytesText(bytes)}`]] : []
  ]
}

function Attempts ({ attempts }) {
  if (attempts.length === 0) return null
  return html`
    <h3>Attempts that did not end it</h3>
    <ol class="attempts">
      ${attempts.map(attempt => html`
        <li key=${attempt.run}>
          <span class="muted">${momentText(attempt.started_at)}, ${attempt.server}, ${duration(attempt.started_at, attempt.ended_at)}</span>
          <br />${attempt.message} <code>${attempt.code}</code>
        </li>`)}
    </ol>`
}
