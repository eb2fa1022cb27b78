import { useForm } from '../lib/form.js'
import { plural } from '../lib/format.js'
import { html } from '../lib/html.js'
import { say } from '../lib/messages.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'

/** Removes a server, after asking what becomes of its jobs. */
export function RemoveServer ({ server, others, onClose, onRemoved }) {
  const form = useForm({ jobs: others.length > 0 ? 'move' : 'cancel', to: others[0]?.alias ?? '' })
  const count = server.waiting + server.processing
  const takers = others.map(({ alias }) => ({ value: alias, label: alias }))

  async function send ({ jobs, to }) {
    // Jobs may have come since the list was read, so what becomes of them is always said.
    const { message } = await servers.remove(server.alias, jobs === 'move' ? { jobs, to } : { jobs })
    say(message)
    onRemoved()
  }

  const choice = (value, label) => html`
    <label class="check">
      <input type="radio" name="jobs" value=${value} checked=${form.values.jobs === value}
        onChange=${() => form.setValues({ ...form.values, jobs: value })} />${label}
    </label>`

  return html`
    <${Dialog} title="Delete ${server.alias}?" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <fieldset>
          <legend>${count === 0 ? 'It has no jobs just now. Should one come in the meantime:' : `It has ${plural(count, 'job')}:`}</legend>
          ${others.length > 0 && choice('move', 'Move waiting jobs to another server')}
          ${form.values.jobs === 'move' && html`<${SelectField} label="Server that takes them" ...${form.field('to')} options=${takers} />`}
          ${choice('cancel', 'Cancel them')}
        </fieldset>
        <p class="hint">Jobs that ended stay, with their images.</p>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Keep it</button>
          <button class="button danger" disabled=${form.busy}>Delete server</button>
        </div>
      </form>
    <//>`
}
