import { useForm } from '../lib/form.js'
import { html } from '../lib/html.js'
import { say } from '../lib/messages.js'
import { servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { CheckField, FormProblem, NumberField, TextField } from './field.js'

/** Changes what is known of a server; its password is only sent when it is typed anew. */
export function EditServer ({ server, onClose, onChanged }) {
  const form = useForm({
    alias: server.alias,
    apiUrl: server.apiUrl,
    description: server.description ?? '',
    job_timeout_seconds: server.job_timeout_seconds === null ? '' : String(server.job_timeout_seconds),
    username: '',
    password: '',
    withoutPassword: false
  })

  async function send ({ username, password, withoutPassword, job_timeout_seconds: timeout, ...rest }) {
    const credentials = withoutPassword ? { username: null } : username === '' ? {} : { username, password }
    const { message } = await servers.change(server.alias, {
      ...rest, job_timeout_seconds: timeout === '' ? null : Number(timeout), ...credentials
    })
    const found = await servers.test(form.values.alias.trim())
    say(`${message} ${found.reachable ? 'It answers.' : `It cannot be used: ${found.message}`}`)
    onChanged()
    onClose()
  }

  return html`
    <${Dialog} title="Change ${server.alias}" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextField} label="Name" ...${form.field('alias')} autocomplete="off" />
        <${TextField} label="Address" ...${form.field('apiUrl')} inputmode="url" autocomplete="off" autocapitalize="none" spellcheck=${false} />
        <${TextField} label="Description" ...${form.field('description')} autocomplete="off" />
        <${NumberField} label="Longest generation, in seconds" placeholder="as JOB_TIMEOUT_SECONDS" min="1" max="86400" ...${form.field('job_timeout_seconds')} />
        <details>
          <summary>Password (--api-auth): ${server.has_credentials ? 'one is stored' : 'none'}</summary>
          <div class="fields">
            <${TextField} label="User name" ...${form.field('username')} autocomplete="off" autocapitalize="none" />
            <${TextField} label="Password" type="password" ...${form.field('password')} autocomplete="new-password" />
          </div>
          ${server.has_credentials && html`<${CheckField} label="Forget the stored one" ...${form.field('withoutPassword')} />`}
        </details>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>${form.busy ? 'Testing…' : 'Save and test'}</button>
        </div>
      </form>
    <//>`
}
