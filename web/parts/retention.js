import { bytesText, momentText, plural } from '../lib/format.js'
import { useForm } from '../lib/form.js'
import { html, useEffect, useState } from '../lib/html.js'
import { useLive } from '../lib/live.js'
import { complain, say } from '../lib/messages.js'
import { settings } from '../lib/settings-service.js'
import { Confirm } from './dialog.js'
import { FormProblem, NumberField } from './field.js'
import { Icon } from './icon.js'

/** Which old jobs go, and removing them now. */
export function RetentionCard ({ changeable, onChanged }) {
  const kept = { retention_days: String(changeable.retention_days), retention_jobs: String(changeable.retention_jobs) }
  const form = useForm(kept)
  /** What was due when the question was asked; null while it is not. */
  const [asking, setAsking] = useState(null)
  const [progress, setProgress] = useState(null)
  const { data: stands, reload } = useLive(signal => settings.retention({}, signal), [], { interval: null })
  const plan = usePlan(form.values)
  const isChanged = Object.keys(kept).some(name => Number(form.values[name]) !== Number(kept[name]))

  async function save ({ retention_days: days, retention_jobs: jobs }) {
    await settings.change({ retention_days: wholeOf(days), retention_jobs: wholeOf(jobs) })
    say('Saved. Old jobs are deleted within six hours, or now if you choose so.')
    onChanged()
    reload()
  }

  /** One call removes a part; the rest follows. What became due after the question stays. */
  async function purge ({ due, as_of: asOf }) {
    setAsking(null)
    let jobs = 0
    try {
      for (let more = true; more;) {
        setProgress(jobs)
        const answer = await settings.purge({ expected: Math.max(0, due.jobs - jobs), created_before: asOf })
        jobs += answer.removed.jobs
        more = answer.more
      }
      say(`${plural(jobs, 'job')} removed.`)
    } catch (error) {
      complain(error)
    }
    setProgress(null)
    reload()
    onChanged()
  }

  async function ask () {
    try {
      setAsking(await settings.retention())
    } catch (error) {
      complain(error)
    }
  }

  const due = stands?.due
  return html`
    <section class="card" aria-labelledby="retention">
      <h2 id="retention">Old jobs</h2>
      <p>Finished jobs are deleted with their images once they are too old or too many. 0 means no limit.</p>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, save)}>
        <${FormProblem} problem=${form.problems['']} />
        <div class="fields numbers-only">
          <${NumberField} label="Days to keep" min="0" step="1" ...${form.field('retention_days')} />
          <${NumberField} label="Jobs to keep" min="0" step="1" ...${form.field('retention_jobs')} />
        </div>
        ${isChanged && plan !== null && html`<p class="hint" role="status">${dueText(plan, 'would be deleted')}</p>`}
        ${isChanged && html`<div class="actions"><button class="button primary" disabled=${form.busy}>Save</button></div>`}
      </form>
      ${!isChanged && due !== undefined && html`
        <p role="status">${dueText(due, 'can be deleted now')}</p>
        ${due.jobs > 0 && html`
          <div class="actions">
            <button type="button" class="button" disabled=${progress !== null} onClick=${ask}>
              <${Icon} name="bin" />${progress === null ? 'Purge now' : `${plural(progress, 'job')} removed…`}
            </button>
          </div>`}`}
      ${stands?.tracker_days > 0 && html`<p class="hint">Jobs of /sdapi/v1 are deleted after ${plural(stands.tracker_days, 'day')} (TRACKER_RETENTION).</p>`}
      ${stands?.last && html`<p class="hint">Last time: ${plural(stands.last.jobs, 'job')} with ${bytesText(stands.last.bytes)}, ${momentText(stands.last.at)}.</p>`}
      ${asking !== null && html`
        <${Confirm} title="Remove ${plural(asking.due.jobs, 'job')}?" action="Remove ${plural(asking.due.jobs, 'job')}"
          sentence=${`This permanently deletes them, with ${plural(asking.due.images, 'image')} of ${bytesText(asking.due.bytes)}.`}
          onConfirm=${() => purge(asking)} onClose=${() => setAsking(null)} />`}
    </section>`
}

/** What a number field says, left to the service where it is no number. */
function wholeOf (text) {
  return text.trim() === '' || Number.isNaN(Number(text)) ? text : Number(text)
}

/** What would be due under the rules being typed; null while that is not known. */
function usePlan ({ retention_days: days, retention_jobs: jobs }) {
  const [plan, setPlan] = useState(null)
  useEffect(() => {
    const stop = new AbortController()
    setPlan(null)
    if (![days, jobs].every(text => /^\d{1,7}$/.test(text))) return
    const timer = setTimeout(() => {
      // Saving tells what is wrong.
      settings.retention({ days, jobs }, stop.signal).then(({ due }) => setPlan(due), () => {})
    }, 300)
    return () => {
      clearTimeout(timer)
      stop.abort()
    }
  }, [days, jobs])
  return plan
}

function dueText ({ jobs, images, bytes, oldest }, words) {
  if (jobs === 0) return `Nothing ${words}.`
  const what = `${plural(jobs, 'job')} with ${plural(images, 'image')} (${bytesText(bytes)})`
  return `${what} ${words}, the oldest of ${momentText(oldest)}.`
}
