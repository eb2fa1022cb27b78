import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { emptyKey, eventWords, formOfKey, requestOfKey, rights, scopeWords } from '../lib/key-form.js'
import { aboutServers, useLive } from '../lib/live.js'
import { say } from '../lib/messages.js'
import { apiKeys, servers } from '../lib/service.js'
import { Dialog } from './dialog.js'
import { CheckField, FormProblem, NumberField, SelectField, TextField } from './field.js'
import { IssuedSecrets, ReplaceSecret } from './issued-secrets.js'
import { More } from './more.js'

const answers = [
  { value: 'wait', label: 'Waits for the image, as A1111 does' }, { value: 'async', label: 'Is sent at once, with a job id' }
]
const hangUps = [
  { value: 'continue', label: 'continues; its images can be fetched later' }, { value: 'cancel', label: 'is cancelled' }
]

export function CreateKey ({ onClose, onChanged }) {
  const form = useForm(emptyKey)
  const [issued, setIssued] = useState(null)

  async function send (values) {
    const { key, secret, api_key: { webhook_secret: webhookSecret } } = await apiKeys.create(requestOfKey(values, null))
    setIssued({ key, secret, webhookSecret })
    onChanged()
  }

  if (issued !== null) return html`<${IssuedSecrets} secrets=${secretsOf(issued)} onClose=${onClose} />`
  return html`<${KeyForm} form=${form} title="New key" action="Create key" limit="default" send=${send} onClose=${onClose} />`
}

export function EditKey ({ accessKey, onClose, onChanged }) {
  const form = useForm(formOfKey(accessKey))

  async function send (values) {
    await apiKeys.change(accessKey.id, requestOfKey(values, accessKey))
    say(`${values.name} was changed.`)
    onChanged()
    onClose()
  }

  return html`
    <${KeyForm} form=${form} title="Change ${accessKey.name}" action="Save" limit="no limit" send=${send} onClose=${onClose}>
      <${CheckField} label="Enabled" hint="If off, requests with this key are rejected until it is on again." ...${form.field('is_active')} />
    <//>`
}

function KeyForm ({ form, title, action, limit, send, onClose, children }) {
  const known = useLive(signal => servers.list(signal), [], { interval: null, about: aboutServers })
  const aliases = known.data?.map(({ alias }) => ({ value: alias, label: alias })) ?? []
  const { problems, values: { rights: right, webhook_url: url } } = form
  return html`
    <${Dialog} key="form" title=${title} onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextField} label="Name" hint="The program that will use it." ...${form.field('name')} autocomplete="off" autofocus />
        <${TextField} label="Description" ...${form.field('description')} autocomplete="off" />
        <${SelectField} label="Permissions" ...${form.field('rights')} options=${rights} />
        ${right === 'chosen' && html`<${Choices} legend="Rights" words=${scopeWords} ...${form.field('scopes')} />`}
        <${NumberField} label="Requests a minute" placeholder=${limit} min="1" ...${form.field('rate_limit_per_minute')} />
        ${children}
        <${More} summary="As a drop-in for A1111 (/sdapi/v1)" needed=${problems.server !== undefined}>
          <${SelectField} label="The answer" ...${form.field('answer')} options=${answers} />
          <${CheckField} label="Send the job id early" hint="Status and X-Job-ID come as soon as a job is accepted; a failure then aborts the transfer." ...${form.field('early_job_id')} />
          <${SelectField} label="When the caller hangs up, the job" ...${form.field('on_hang_up')} options=${hangUps} />
          <${SelectField} label="Server" ...${form.field('server')} options=${[{ value: '', label: 'Automatic' }, ...aliases]} />
        <//>
        <${More} summary="Webhook of its jobs${url === '' ? '' : `: ${url}`}" needed=${problems.webhook_url !== undefined}>
          <${TextField} label="Address" hint="Receives the events of its jobs unless a job names another address. A query is stored, but not shown again."
            placeholder="https://example.org/hook" ...${form.field('webhook_url')} inputmode="url" autocomplete="off" autocapitalize="none" />
          ${url !== '' && html`<${Choices} legend="Events" words=${eventWords} ...${form.field('webhook_events')} />`}
        <//>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>${action}</button>
        </div>
      </form>
    <//>`
}

/** Several options as checkboxes. @param {{ words: Record<string, string>, value: string[] }} props */
function Choices ({ legend, words, value, onValue, problem }) {
  const toggle = name => onValue(value.includes(name) ? value.filter(one => one !== name) : [...value, name])
  return html`
    <fieldset class="choices">
      <legend class="label">${legend}</legend>
      ${Object.entries(words).map(([name, label]) => html`
        <label key=${name} class="check">
          <input type="checkbox" checked=${value.includes(name)} onChange=${() => toggle(name)} />
          <span>${label} <code class="muted">${name}</code></span>
        </label>`)}
      ${problem && html`<p class="problem">${problem}</p>`}
    </fieldset>`
}

export function RotateKey ({ accessKey, onClose, onChanged }) {
  async function replace (graceHours) {
    const issued = await apiKeys.rotate(accessKey.id, graceHours)
    onChanged()
    return secretsOf(issued)
  }

  return html`
    <${ReplaceSecret} title="New secret for ${accessKey.name}" label="The former secret works" replace=${replace} onClose=${onClose} />`
}

/** The settings that a program needs to use its key. */
function secretsOf ({ key, secret, webhookSecret }) {
  return [
    { label: 'X-API-Key', what: 'key', value: key },
    { label: 'X-API-Secret', what: 'secret', value: secret },
    ...webhookSecret ? [{ label: 'Signs webhooks', what: 'webhook secret', value: webhookSecret }] : []
  ]
}
