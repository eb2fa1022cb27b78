import { adviceFor } from '../lib/advice.js'
import { ApiError, sentenceOf } from '../lib/api.js'
import { downloadText } from '../lib/download.js'
import { endText, placeText, reasonText, serverText, startText } from '../lib/expectation.js'
import { bytesText, duration, momentText } from '../lib/format.js'
import { html } from '../lib/html.js'
import { isEnlarging } from '../lib/inputs.js'
import { aboutJob, useLive, useProgress } from '../lib/live.js'
import { groupsOf } from '../lib/parameters.js'
import { goTo } from '../lib/router.js'
import { jobs } from '../lib/service.js'
import { CopyButton } from '../parts/copy-button.js'
import { Icon } from '../parts/icon.js'
import { JobActions } from '../parts/job-actions.js'
import { JobDeliveries } from '../parts/job-deliveries.js'
import { JobImages } from '../parts/job-images.js'
import { JobInputs } from '../parts/job-inputs.js'
import { JobProgress } from '../parts/job-progress.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { Stale } from '../parts/stale.js'
import { Status } from '../parts/status.js'

const active = ['pending', 'processing']

/** All details of one job. */
export function JobPage ({ route: { id } }) {
  const { data, error, reload } = useLive(signal => jobs.read(id, signal), [id], { about: aboutJob(id) })
  const job = useProgress(data)
  if (job === undefined) {
    const isGone = error instanceof ApiError && error.status === 404
    return html`
      <${PageHead} title=${isGone ? 'There is no such job' : 'Job'} />
      <${Loading} error=${error} sentence=${error && sentenceOf(error)} />
      <p class="back"><a href="#/queue"><${Icon} name="back" />Back to the queue</a></p>`
  }
  const prompt = job.generation_params.prompt
  return html`
    <p class="back"><a href="#/queue"><${Icon} name="back" />Queue</a></p>
    <${PageHead} title=${prompt || (isEnlarging(job) ? 'Upscaling an image' : 'Job without a prompt')}>
      <div class="actions">
        <${JobActions} job=${job} onDone=${action => action === 'remove' ? goTo('/queue') : reload()} />
        ${!isEnlarging(job) && html`
          <a class="button" href="#/create?from=${job.id}"><${Icon} name="pen" />Submit again with changes</a>`}
      </div>
    <//>
    <${Stale} error=${error} />
    <p class="job-status" role="status">
      <${Status} status=${job.status} note=${noteOf(job)} />
      <span class="muted">${[`on ${serverText(job)}`, reasonText(job), startText(job), endText(job)].filter(Boolean).join(', ')}</span>
    </p>
    ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
    <${Failure} error=${job.error} />
    ${job.warnings.map(warning => html`
      <p key=${warning.message} class="notice warning-notice"><${Icon} name="warning" /> ${warning.message}</p>`)}
    <${JobImages} job=${job} />
    ${job.images.length === 0 && active.includes(job.status) && (job.preview_url
      ? html`<img class="preview" src=${job.preview_url} alt="Preview" />`
      : html`<p class="empty">The images will appear here.</p>`)}
    <div class="job-details">
      <${Parameters} job=${job} />
      <div class="stack">
        <section class="card" aria-labelledby="history">
          <h2 id="history">History</h2>
          <${History} job=${job} />
          <${Facts} facts=${factsOf(job)} />
        </section>
        <${JobDeliveries} job=${job} />
      </div>
    </div>`
}

function noteOf (job) {
  if (job.cancel_requested) return 'being cancelled'
  return placeText(job)
}

function Failure ({ error }) {
  if (error === null) return null
  const what = adviceFor(error.code)
  return html`
    <div class="notice problem-notice" role="alert">
      <p>${error.message} <code>${error.code}</code></p>
      ${what && html`<p>${what}</p>`}
    </div>`
}

function Parameters ({ job }) {
  const { prompt, negative_prompt: negative } = job.generation_params
  const json = JSON.stringify(job.generation_params, null, 2)
  return html`
    <section class="card" aria-labelledby="parameters">
      <h2 id="parameters">Parameters</h2>
      ${prompt && html`<p class="prompt"><span class="label">Prompt</span>${prompt}</p>`}
      ${negative && html`<p class="prompt"><span class="label">Negative prompt</span>${negative}</p>`}
      <${JobInputs} job=${job} />
      ${groupsOf(job.generation_params).map(({ title, facts }) => html`
        <section key=${title}><h3>${title}</h3><${Facts} facts=${facts} /></section>`)}
      <div class="actions">
        <${CopyButton} label="Copy" what="The parameters" text=${json} />
        <button type="button" class="button" onClick=${() => downloadText(`job-${job.id}.json`, JSON.stringify(job, null, 2))}>
          <${Icon} name="download" />Download as JSON
        </button>
      </div>
    </section>`
}

function Facts ({ facts }) {
  return html`<dl class="facts-list">${facts.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>`
}

function factsOf (job) {
  const bytes = job.images.reduce((sum, image) => sum + image.bytes, 0)
  return [
    ['Job', job.id],
    ['Priority', String(job.priority)],
    ['From', [job.source_info, job.app_type].filter(Boolean).join(', ')],
    ...job.bulk_job_id === null ? [] : [['Bulk', job.bulk_job_id]],
    ...job.images.length > 0 ? [['Images', `${job.images.length}, ${bytesText(bytes)}`]] : []
  ]
}

const ends = { completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled' }

/** The job's history, oldest first. */
function History ({ job }) {
  const { started_timestamp: started, completion_timestamp: ended } = job
  const steps = [
    { at: job.creation_timestamp, what: 'Accepted' },
    ...job.attempts.map(attempt => ({
      at: attempt.started_at,
      what: `Attempt ${attempt.run} on ${attempt.server}, ${duration(attempt.started_at, attempt.ended_at)}`,
      problem: attempt
    })),
    ...started !== null && !job.attempts.some(attempt => attempt.started_at === started)
      ? [{ at: started, what: `Started on ${job.target_server_alias}` }]
      : [],
    ...ended === null ? [] : [{ at: ended, what: `${ends[job.status] ?? 'Ended'}${started === null ? '' : ` after ${duration(started, ended)}`}` }]
  ]
  return html`
    <ol class="timeline">
      ${steps.map(({ at, what, problem }, index) => html`
        <li key=${index}>
          <p>${what}</p>
          <p class="hint">${momentText(at)}</p>
          ${problem && html`<p class="problem">${problem.message} <code>${problem.code}</code></p>`}
        </li>`)}
    </ol>`
}
