import type { WholeDelivery } from '../lib/api-types.ts'
import { useForm } from '../lib/form.ts'
import { useState } from 'preact/hooks'
import { say } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { DeliveryBody, DeliveryState } from './deliveries.tsx'
import { Dialog } from './dialog.tsx'
import { FormProblem, SelectField, TextField } from './field.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/webhooks.ts'

/** Sends a test event to an address at once and shows the result. */
export function TestEndpoint ({ url, onClose }: { url: string, onClose: () => void }) {
  const form = useForm({ webhook_url: url, webhook_key: '' })
  const [outcome, setOutcome] = useState<WholeDelivery | null>(null)

  async function send ({ webhook_url: address, webhook_key: key }: { webhook_url: string, webhook_key: string }) {
    setOutcome(null)
    setOutcome(await webhooks.test({ webhook_url: address.trim(), ...(key === '' ? {} : { webhook_key: key }) }))
  }

  return (
    <Dialog title={t.testAddress} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <TextField
          label={common.address} {...form.field('webhook_url')} inputmode='url' autocomplete='off' autocapitalize='none' spellcheck={false}
          placeholder={t.exampleAddress} autofocus
        />
        <TextField
          label={t.key}
          hint={t.keyHint} {...form.field('webhook_key')} autocomplete='off'
        />
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.close}</button>
          <button class='button primary' disabled={form.busy}>{form.busy ? t.sending : t.sendTest}</button>
        </div>
      </form>
      {outcome !== null && (
        <>
          <div role='status'><p class='job-status'><DeliveryState state={outcome.delivery.state} /> {outcome.delivery.reason ?? t.receiverAcceptedIt}</p></div>
          <DeliveryBody data={outcome} />
        </>
      )}
    </Dialog>
  )
}

const spans = [
  { value: '1', label: t.inLastHour }, { value: '24', label: t.inLastDay }, { value: '168', label: t.inLastWeek }
]
const states = [
  { value: 'failed', label: t.wasGivenUp }, { value: 'blocked', label: t.wasBlocked }, { value: 'skipped', label: t.wasSkipped }
]

/** Sends all failed events of a time span again. */
export function RedeliverAll ({ onClose }: { onClose: () => void }) {
  const form = useForm({ state: 'failed', hours: '24' })

  async function send ({ state, hours }: { state: string, hours: string }) {
    const since = new Date(Date.now() - Number(hours) * 3_600_000).toISOString()
    const count = await webhooks.redeliverAll({ state, since })
    say(count === 0 ? t.thereWasNone : t.eventsAreSentAgain(count))
    onClose()
  }

  return (
    <Dialog title={t.sendFailedEventsAgain} onClose={onClose}>
      <form ref={form.element} noValidate onSubmit={event => form.submit(event, send)}>
        <FormProblem problem={form.problems['']} />
        <SelectField label={t.everyEventThat} {...form.field('state')} options={states} />
        <SelectField label={t.andHappened} {...form.field('hours')} options={spans} />
        <p class='hint'>{t.redeliverHint}</p>
        <div class='dialog-actions'>
          <button type='button' class='button' onClick={onClose}>{common.cancel}</button>
          <button class='button primary' disabled={form.busy}>{t.sendAgain}</button>
        </div>
      </form>
    </Dialog>
  )
}
