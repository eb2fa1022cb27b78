import type { WholeDelivery } from '../lib/api-types.ts'
import { plural } from '../lib/format.ts'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { say } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { DeliveryBody, DeliveryState } from './deliveries.tsx'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField, TextField } from './field.tsx'

/** Sends a test event to an address at once and shows the result. */
export function TestEndpoint ({ url, onClose }: { url: string, onClose: () => void }) {
  const form = useForm({ webhook_url: url, webhook_key: '' })
  const [outcome, setOutcome] = useState<WholeDelivery | null>(null)

  async function send ({ webhook_url: address, webhook_key: key }: { webhook_url: string, webhook_key: string }) {
    setOutcome(null)
    setOutcome(await webhooks.test({ webhook_url: address.trim(), ...(key === '' ? {} : { webhook_key: key }) }))
  }

  return (
    <Dialog title='Test an address' onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label='Address' {...form.field('webhook_url')} inputmode='url' autocomplete='off' autocapitalize='none' spellcheck={false}
          placeholder='https://example.org/hook' autofocus
        />
        <TextField
          label='Key'
          hint="Signs the event, as webhookKey of a job does. Empty: the service's own secret." {...form.field('webhook_key')} autocomplete='off'
        />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>Close</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? 'Sending…' : 'Send a test'}</button>
        </div>
      </form>
      {outcome !== null && (
        <>
          <div role='status'><p class='job-status'><DeliveryState state={outcome.delivery.state} /> {outcome.delivery.reason ?? 'The receiver accepted it.'}</p></div>
          <DeliveryBody data={outcome} />
        </>
      )}
    </Dialog>
  )
}

const spans = [
  { value: '1', label: 'in the last hour' }, { value: '24', label: 'in the last day' }, { value: '168', label: 'in the last week' }
]
const states = [
  { value: 'failed', label: 'was given up' }, { value: 'blocked', label: 'was blocked' }, { value: 'skipped', label: 'was skipped' }
]

/** Sends all failed events of a time span again. */
export function RedeliverAll ({ onClose }: { onClose: () => void }) {
  const form = useForm({ state: 'failed', hours: '24' })

  async function send ({ state, hours }: { state: string, hours: string }) {
    const since = new Date(Date.now() - Number(hours) * 3_600_000).toISOString()
    const count = await webhooks.redeliverAll({ state, since })
    say(count === 0 ? 'There was none.' : `${plural(count, 'event')} ${count === 1 ? 'is' : 'are'} sent again.`)
    onClose()
  }

  return (
    <Dialog title='Send failed events again' onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <SelectField label='Every event that' {...form.field('state')} options={states} />
        <SelectField label='and happened' {...form.field('hours')} options={spans} />
        <p class='hint'>Oldest first, each with its own id, so that receivers recognise events that they already have.</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>Cancel</button>
          <button class='button primary' disabled={form.busy}>Send again</button>
        </div>
      </form>
    </Dialog>
  )
}
