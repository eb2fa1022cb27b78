import { useForm } from '../lib/form.js'
import { plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { say } from '../lib/messages.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'

/** Removes a server; asks what to do with its jobs, if it has any. */
export function RemoveServer ({ server, others, onClose, onRemoved }) {
  const form = useForm({ jobs: others.length > 0 ? 'move' : 'cancel', to: others[0]?.alias ?? '' })
  const [count, setCount] = useState(server.waiting + server.processing)

  async function send ({ jobs, to }) {
    try {
      const choice = jobs === 'move' ? { jobs, to, expected: count } : { jobs, expected: count }
      const { message } = await servers.remove(server.alias, count === 0 ? {} : choice)
      say(message)
      onRemoved()
    } catch (error) {
      if (error.code === 'server_has_jobs' && count === 0) setCount(error.details.waiting + error.details.running)
      else if (error.code === 'more_than_expected') setCount(error.details.count)
      else throw error
    }
  }

  return html`
    <${Dialog} title="Delete ${server.alias}?" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        ${count === 0 ? html`<p>No job waits for it.</p>` : html`<${JobsChoice} form=${form} count=${count} others=${others} />`}
        <p class="hint">Finished jobs stay, with their images.</p>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Keep it</button>
          <button class="button danger" disabled=${form.busy}>Delete server</button>
        </div>
      </form>
    <//>`
}

function JobsChoice ({ form, count, others }) {
  const jobs = plural(count, 'job')
  if (others.length === 0) return html`<p role="status">Its ${jobs} will be cancelled: there is no other server.</p>`
  const choice = (value, label) => html`
    <label class="check">
      <input type="radio" name="jobs" value=${value} checked=${form.values.jobs === value}
        onChange=${() => form.setValues({ ...form.values, jobs: value })} />${label}
    </label>`
  return html`
    <fieldset>
      <legend>It has ${jobs}.</legend>
      ${choice('move', 'Move waiting jobs to another server')}
      ${form.values.jobs === 'move' && html`
        <${SelectField} label="New server" ...${form.field('to')}
          options=${others.map(({ alias }) => ({ value: alias, label: alias }))} />`}
      ${choice('cancel', 'Cancel them')}
    </fieldset>`
}
