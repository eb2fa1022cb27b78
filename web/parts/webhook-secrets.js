import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { complain } from '../lib/messages.js'
import { webhooks } from '../lib/webhook-service.js'
import { CopyButton } from './copy-button.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField } from './field.js'
import { Icon } from './icon.js'

/** What signs events: receivers verify with the same. */
export function WebhookSecrets ({ keys }) {
  const [secret, setSecret] = useState(null)
  const [rotating, setRotating] = useState(null)

  async function show () {
    try {
      setSecret(await webhooks.secret())
    } catch (error) {
      complain(error)
    }
  }

  return html`
    <section class="card" aria-labelledby="own-secret">
      <h2 id="own-secret">Jobs of these pages</h2>
      <p>Events of jobs without an access key are signed with this secret. It follows from the master key and changes with it.</p>
      ${secret === null
        ? html`<div class="actions"><button type="button" class="button" onClick=${show}><${Icon} name="key" />Show the secret</button></div>`
        : html`
          <p class="secret"><code>${secret}</code></p>
          <div class="actions">
            <${CopyButton} label="Copy secret" what="The secret was" text=${secret} />
            <button type="button" class="button quiet" onClick=${() => setSecret(null)}>Hide it</button>
          </div>`}
    </section>
    <section class="card" aria-labelledby="key-secrets">
      <h2 id="key-secrets">Jobs of access keys</h2>
      <p>Each key has a secret of its own, which was told when the key was made and can be replaced.</p>
      ${keys?.length === 0 && html`<p class="muted">There is no key yet.</p>`}
      <ul class="plain-rows">
        ${keys?.map(key => html`
          <li key=${key.id}><span>${key.name}</span>
            <button type="button" class="button" aria-label="Replace the secret of ${key.name}" onClick=${() => setRotating(key)}>Replace</button>
          </li>`)}
      </ul>
    </section>
    ${rotating !== null && html`<${RotateSecret} accessKey=${rotating} onClose=${() => setRotating(null)} />`}`
}

const graces = [
  { value: '24', label: 'for 24 more hours' }, { value: '168', label: 'for 7 more days' }, { value: '0', label: 'no longer' }
]

function RotateSecret ({ accessKey, onClose }) {
  const form = useForm({ grace_hours: '24' })
  const [issued, setIssued] = useState(null)

  async function send ({ grace_hours: hours }) {
    setIssued((await webhooks.rotateSecretOf(accessKey.id, Number(hours))).webhook_secret)
  }

  if (issued !== null) {
    return html`
      <${Dialog} key="issued" title="Keep this secret now" onClose=${onClose}>
        <p>It is shown only here.</p>
        <p class="secret"><code>${issued}</code></p>
        <div class="dialog-actions">
          <${CopyButton} label="Copy secret" what="The secret was" text=${issued} />
          <button type="button" class="button primary" onClick=${onClose}>I have kept it</button>
        </div>
      <//>`
  }
  return html`
    <${Dialog} key="form" title="New secret for events of ${accessKey.name}" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${SelectField} label="Events are signed with the former one too" ...${form.field('grace_hours')} options=${graces} />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Make new secret</button>
        </div>
      </form>
    <//>`
}
