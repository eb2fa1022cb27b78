import { useForm } from '../lib/form.js'
import { html } from '../lib/html.js'
import { say } from '../lib/messages.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { FormProblem, TextField } from './field.js'

/** Pauses the queue of a server, with a reason for users whose jobs wait. */
export function PauseServer ({ server: { alias }, onClose, onPaused }) {
  const form = useForm({ reason: '' })

  async function send ({ reason }) {
    const { message } = await servers.pause(alias, reason)
    say(message)
    onPaused()
  }

  return html`
    <${Dialog} title="Pause ${alias}?" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <p>The running job continues; no new one starts until you resume the server.</p>
        <${TextField} label="Reason (optional)" placeholder="Driver update" ...${form.field('reason')} maxlength="300" autocomplete="off" autofocus />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Pause</button>
        </div>
      </form>
    <//>`
}
