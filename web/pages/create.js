import { useForm } from '../lib/form.js'
import { emptyForm, formOf, requestOf } from '../lib/generation.js'
import { html, useEffect, useState } from '../lib/html.js'
import { readChoices } from '../lib/inventory.js'
import { aboutJob, aboutServers, seldom, useLive } from '../lib/live.js'
import { complain, say } from '../lib/messages.js'
import { jobs, servers } from '../lib/service.js'
import { FormProblem, TextArea } from '../parts/field.js'
import { ModelFields, PictureFields, StartFields } from '../parts/generation-fields.js'
import { JobImages } from '../parts/job-images.js'
import { JobProgress } from '../parts/job-progress.js'
import { PageHead } from '../parts/page-head.js'
import { Status } from '../parts/status.js'

/** Where the form is kept while other pages are looked at. */
const storeName = 'stablequeue:create'

/** Submits jobs and shows what becomes of the last one. */
export function CreatePage ({ route }) {
  const form = useForm(rememberedForm())
  const [submitted, setSubmitted] = useState('')
  const from = route.query.get('from')
  const known = useLive(signal => servers.list(signal), [], { interval: seldom, about: aboutServers })
  const alias = form.values.target_server_alias
  const isThere = known.data !== undefined
  const choices = useLive(signal => readChoices(known.data ?? [], alias, signal), [alias, isThere],
    { interval: seldom, about: aboutServers })

  useEffect(() => {
    const { init_images: _image, ...texts } = form.values
    window.sessionStorage.setItem(storeName, JSON.stringify(texts))
  }, [form.values])

  useEffect(() => {
    if (from !== null) jobs.read(from).then(job => form.setValues(formOf(job)), complain)
  }, [from])

  async function send (values) {
    const accepted = await jobs.submit(await requestOf(values))
    setSubmitted(accepted.id)
    say(`The job is number ${accepted.queue_position} in the line of ${accepted.target_server_alias}.`)
  }

  function onKeyDown (event) {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit()
  }

  return html`
    <${PageHead} title="Create" />
    <div class="create">
      <form ref=${form.element} noValidate onKeyDown=${onKeyDown} onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextArea} label="Prompt" wide rows="4" ...${form.field('prompt')} />
        <${TextArea} label="Negative prompt" wide rows="2" ...${form.field('negative_prompt')} />
        <${ModelFields} form=${form} servers=${known.data ?? []} choices=${choices.data} />
        <${PictureFields} form=${form} />
        <${StartFields} form=${form} choices=${choices.data} />
        <div class="actions submit">
          <button class="button primary" disabled=${form.busy} title="Ctrl + Enter">${form.busy ? 'Submitting…' : 'Submit job'}</button>
          <button type="button" class="button quiet" onClick=${() => form.setValues(emptyForm)}>Start over</button>
        </div>
      </form>
      <section class="result" aria-label="Result">
        ${submitted === ''
          ? html`<p class="empty">The image of your job will appear here.</p>`
          : html`<${Result} key=${submitted} id=${submitted} />`}
      </section>
    </div>`
}

function Result ({ id }) {
  const { data: job } = useLive(signal => jobs.read(id, signal), [id], { about: aboutJob(id) })
  if (job === undefined) return html`<p class="empty">In line.</p>`
  return html`
    <p class="job-status" role="status">
      <${Status} status=${job.status} note=${job.queue_position === null ? '' : `no. ${job.queue_position} in line`} />
      <a href="#/job/${job.id}">Details</a>
    </p>
    ${job.status === 'processing' && html`<${JobProgress} job=${job} />`}
    ${job.error !== null && html`<p class="notice problem-notice">${job.error.message}</p>`}
    ${job.images.length === 0 && job.error === null && html`<p class="empty">${job.generation_params.prompt}</p>`}
    <${JobImages} job=${job} />`
}

function rememberedForm () {
  try {
    return { ...emptyForm, ...JSON.parse(window.sessionStorage.getItem(storeName) ?? '{}') }
  } catch {
    return emptyForm
  }
}
