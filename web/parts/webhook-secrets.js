import { html, useState } from '../lib/html.js'
import { complain } from '../lib/messages.js'
import { webhooks } from '../lib/webhook-service.js'
import { CopyButton } from './copy-button.js'
import { Icon } from './icon.js'
import { ReplaceSecret } from './issued-secrets.js'

/** The secrets that sign events; receivers verify with them. */
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

  async function replace (graceHours) {
    const { webhook_secret: value } = await webhooks.rotateSecretOf(rotating.id, graceHours)
    return [{ label: 'Signs webhooks', what: 'secret', value }]
  }

  return html`
    <section class="card" aria-labelledby="own-secret">
      <h2 id="own-secret">Jobs without an access key</h2>
      <p>This secret signs the events of jobs without an access key. It follows from the master key and changes with it.</p>
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
      <p>Each key has its own secret, which was shown when you created the key. You can replace it.</p>
      ${keys?.length === 0 && html`<p class="muted">There is no key yet.</p>`}
      <ul class="plain-rows">
        ${keys?.map(key => html`
          <li key=${key.id}><span>${key.name}</span>
            <button type="button" class="button" aria-label="Replace the secret of ${key.name}" onClick=${() => setRotating(key)}>Replace</button>
          </li>`)}
      </ul>
    </section>
    ${rotating !== null && html`
      <${ReplaceSecret} title="New secret for events of ${rotating.name}" label="Events are signed with the former one too"
        replace=${replace} onClose=${() => setRotating(null)} />`}`
}
