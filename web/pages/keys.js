import { sentenceOf } from '../lib/api.js'
import { ago, momentText, plural } from '../lib/format.js'
import { html, useState } from '../lib/html.js'
import { seldom, useLive } from '../lib/live.js'
import { attempt } from '../lib/messages.js'
import { apiKeys } from '../lib/service.js'
import { dropInText, rightsText } from '../lib/key-form.js'
import { Confirm } from '../parts/dialog.js'
import { Icon } from '../parts/icon.js'
import { CreateKey, EditKey, RotateKey } from '../parts/key-dialogs.js'
import { Loading, PageHead } from '../parts/page-head.js'
import { Stale } from '../parts/stale.js'

/** The access keys of programs. */
export function KeysPage () {
  const { data, error, reload } = useLive(signal => apiKeys.list(signal), [], { interval: seldom, about: () => false })
  const [open, setOpen] = useState({ dialog: '', key: null })
  const close = () => setOpen({ dialog: '', key: null })

  async function revoke () {
    await attempt(() => apiKeys.remove(open.key.id))
    close()
    reload()
  }

  return html`
    <${PageHead} title="API keys">
      <button type="button" class="button primary" onClick=${() => setOpen({ dialog: 'create', key: null })}>
        <${Icon} name="create" />New key
      </button>
    <//>
    <p class="lead">Programs send a key to use the API: <code>X-API-Key</code> and <code>X-API-Secret</code>. The web UI does not need one.</p>
    ${data === undefined
      ? html`<${Loading} error=${error} sentence=${error && sentenceOf(error)} />`
      : html`<${Stale} error=${error} />`}
    ${data?.length === 0 && html`<p class="empty">No keys yet. Create one for each program, so that you can revoke each alone.</p>`}
    <ul class="cards">
      ${data?.map(key => html`<${KeyCard} key=${key.id} accessKey=${key} onOpen=${dialog => setOpen({ dialog, key })} />`)}
    </ul>
    ${open.dialog === 'create' && html`<${CreateKey} onClose=${close} onChanged=${reload} />`}
    ${open.dialog === 'edit' && html`<${EditKey} accessKey=${open.key} onClose=${close} onChanged=${reload} />`}
    ${open.dialog === 'rotate' && html`<${RotateKey} accessKey=${open.key} onClose=${close} onChanged=${reload} />`}
    ${open.dialog === 'revoke' && html`
      <${Confirm} title="Revoke ${open.key.name}?" action="Revoke key" onConfirm=${revoke} onClose=${close}
        sentence="Programs that use it are shut out at once. Its jobs stay." />`}`
}

function KeyCard ({ accessKey, onOpen }) {
  const { name, scopes, is_active: isActive, previous_secret_valid_until: formerUntil } = accessKey
  const limit = accessKey.rate_limit_per_minute
  return html`
    <li class="card">
      <div class="card-head">
        <h2>${name}</h2>
        ${!isActive && html`<span class="status still">Disabled</span>`}
      </div>
      ${accessKey.description && html`<p>${accessKey.description}</p>`}
      <dl class="facts-list">
        <div><dt>Key</dt><dd><code>${accessKey.key}</code></dd></div>
        <div><dt>Permissions</dt><dd>${rightsText(scopes)}</dd></div>
        <div><dt>Limit</dt><dd>${limit === null ? 'none' : `${plural(limit, 'request')} a minute`}</dd></div>
        ${accessKey.webhook_url && html`<div><dt>Webhook</dt><dd>${accessKey.webhook_url}</dd></div>`}
        ${dropInText(accessKey.drop_in) && html`<div><dt>Drop-in</dt><dd>${dropInText(accessKey.drop_in)}</dd></div>`}
        ${accessKey.drop_in.server && html`<div><dt>Server</dt><dd>${accessKey.drop_in.server}</dd></div>`}
        <div><dt>Created</dt><dd>${momentText(accessKey.created_at)}</dd></div>
        <div><dt>Used</dt><dd>${accessKey.last_used_at === null ? 'never' : `${ago(accessKey.last_used_at)}, ${plural(accessKey.usage_count, 'time')} in total`}</dd></div>
        ${formerUntil !== null && html`<div><dt>Old secret</dt><dd>works until ${momentText(formerUntil)}</dd></div>`}
      </dl>
      <div class="actions">
        <button type="button" class="button" aria-label="Change ${name}" onClick=${() => onOpen('edit')}><${Icon} name="pen" />Change</button>
        <button type="button" class="button" aria-label="Rotate ${name}" onClick=${() => onOpen('rotate')}><${Icon} name="again" />Rotate</button>
        <button type="button" class="button quiet" aria-label="Revoke ${name}" onClick=${() => onOpen('revoke')}><${Icon} name="bin" />Revoke</button>
      </div>
    </li>`
}
