import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { apiKeys } from '../lib/service.js'
import { CopyButton } from './copy-button.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField, TextField } from './field.js'

/** What a key may do beside the ordinary, in groups that people think in. */
const rights = [
  { value: '', label: 'Submit jobs and see its own' },
  { value: 'all', label: 'See and cancel the jobs of everybody too' },
  { value: '*', label: 'Everything, servers and keys included' }
]
const ordinary = ['jobs:write', 'jobs:read', 'images:read', 'models:read', 'servers:read']
const scopesOf = { '': ordinary, all: [...ordinary, 'jobs:read:all', 'jobs:cancel:all'], '*': ['*'] }

const graces = [
  { value: '24', label: 'for 24 more hours' }, { value: '168', label: 'for 7 more days' }, { value: '0', label: 'no longer' }
]

export function CreateKey ({ onClose, onChanged }) {
  const form = useForm({ name: '', description: '', scopes: '' })
  const [issued, setIssued] = useState(null)

  async function send ({ name, description, scopes }) {
    setIssued(await apiKeys.create({ name, description, scopes: scopesOf[scopes] }))
    onChanged()
  }

  if (issued !== null) return html`<${Issued} issued=${issued} onClose=${onClose} />`
  return html`
    <${Dialog} key="form" title="New key" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextField} label="Name" hint="The program that will use it." ...${form.field('name')} autocomplete="off" autofocus />
        <${TextField} label="Description" ...${form.field('description')} autocomplete="off" />
        <${SelectField} label="It may" ...${form.field('scopes')} options=${rights} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Make key</button>
        </div>
      </form>
    <//>`
}

export function RotateKey ({ accessKey, onClose, onChanged }) {
  const form = useForm({ grace_hours: '24' })
  const [issued, setIssued] = useState(null)

  async function send ({ grace_hours: hours }) {
    setIssued(await apiKeys.rotate(accessKey.id, Number(hours)))
    onChanged()
  }

  if (issued !== null) return html`<${Issued} issued=${issued} onClose=${onClose} />`
  return html`
    <${Dialog} key="form" title="New secret for ${accessKey.name}" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${SelectField} label="The former secret works" ...${form.field('grace_hours')} options=${graces} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Make new secret</button>
        </div>
      </form>
    <//>`
}

/** The one moment in which a secret can be seen. */
function Issued ({ issued: { key, secret }, onClose }) {
  return html`
    <${Dialog} key="issued" title="Keep this secret now" onClose=${onClose}>
      <p>It is shown only here; the service keeps no copy that could be read.</p>
      <dl class="facts-list secret">
        <div><dt>X-API-Key</dt><dd><code>${key}</code></dd></div>
        <div><dt>X-API-Secret</dt><dd><code>${secret}</code></dd></div>
      </dl>
      <div class="dialog-actions">
        <${CopyButton} label="Copy key" what="The key" text=${key} />
        <${CopyButton} label="Copy secret" what="The secret" text=${secret} />
        <button type="button" class="button primary" onClick=${onClose}>I have kept it</button>
      </div>
    <//>`
}
