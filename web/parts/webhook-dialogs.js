import { plural } from '../lib/format.js'
import { useForm } from '../lib/form.js'
import { html, useState } from '../lib/html.js'
import { say } from '../lib/messages.js'
import { webhooks } from '../lib/webhook-service.js'
import { DeliveryBody, DeliveryState } from './deliveries.js'
import { Dialog } from './dialog.js'
import { FormProblem, SelectField, TextField } from './field.js'

/** Sends a test event to an address at once and shows the result. */
export function TestEndpoint ({ url, onClose }) {
  const form = useForm({ webhook_url: url, webhook_key: '' })
  const [outcome, setOutcome] = useState(null)

  async function send ({ webhook_url: address, webhook_key: key }) {
    setOutcome(null)
    setOutcome(await webhooks.test({ webhook_url: address.trim(), ...(key === '' ? {} : { webhook_key: key }) }))
  }

  return html`
    <${Dialog} title="Test an address" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${TextField} label="Address" ...${form.field('webhook_url')} inputmode="url" autocomplete="off" autocapitalize="none" spellcheck=${false}
          placeholder="https://example.org/hook" autofocus />
        <${TextField} label="Key" hint="Signs the event, as webhookKey of a job does. Empty: the service's own secret." ...${form.field('webhook_key')} autocomplete="off" />
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Close</button>
          <button class="button primary" disabled=${form.busy}>${form.busy ? 'Sending…' : 'Send a test'}</button>
        </div>
      </form>
      ${outcome !== null && html`
        <div role="status"><p class="job-status"><${DeliveryState} state=${outcome.delivery.state} /> ${outcome.delivery.reason ?? 'The receiver accepted it.'}</p></div>
        <${DeliveryBody} data=${outcome} />`}
    <//>`
}

const spans = [
  { value: '1', label: 'in the last hour' }, { value: '24', label: 'in the last day' }, { value: '168', label: 'in the last week' }
]
const states = [
  { value: 'failed', label: 'was given up' }, { value: 'blocked', label: 'was blocked' }, { value: 'skipped', label: 'was skipped' }
]

/** Sends all failed events of a time span again. */
export function RedeliverAll ({ onClose }) {
  const form = useForm({ state: 'failed', hours: '24' })

  async function send ({ state, hours }) {
    const count = await webhooks.redeliverAll({ state, since: new Date(Date.now() - hours * 3_600_000).toISOString() })
    say(count === 0 ? 'There was none.' : `${plural(count, 'event')} ${count === 1 ? 'is' : 'are'} sent again.`)
    onClose()
  }

  return html`
    <${Dialog} title="Send failed events again" onClose=${onClose}>
      <form ref=${form.element} noValidate onSubmit=${event => form.submit(event, send)}>
        <${FormProblem} problem=${form.problems['']} />
        <${SelectField} label="Every event that" ...${form.field('state')} options=${states} />
        <${SelectField} label="and happened" ...${form.field('hours')} options=${spans} />
        <p class="hint">Oldest first, each with its own id, so that receivers recognise events that they already have.</p>
        <div class="dialog-actions">
          <button type="button" class="button" onClick=${onClose}>Cancel</button>
          <button class="button primary" disabled=${form.busy}>Send again</button>
        </div>
      </form>
    <//>`
}
