import type { Delivery, WholeDelivery } from '../lib/api-types.ts'
import type { Outcome } from '../lib/messages.ts'
import { ago, momentText, plural } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { aboutDeliveries, often, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { CopyButton } from './copy-button.tsx'
import { Dialog } from './dialog.tsx'
import { Icon } from './icon.tsx'
import { Loading } from './page-head.tsx'

const states: Readonly<Record<string, readonly [string, string]>> = {
  pending: ['On its way', 'active'], delivered: ['Delivered', 'good'], failed: ['Failed', 'bad'], blocked: ['Blocked', 'bad'], skipped: ['Skipped', 'still']
}

export function DeliveryState ({ state }: { state: Delivery['state'] }) {
  const [word, tone] = states[state] ?? [state, 'still']
  return <span class={`status ${tone}`}>{word}</span>
}

/** Sent and waiting events. */
export function Deliveries ({ deliveries, nameOf, onChanged }: {
  deliveries: readonly Delivery[]
  nameOf: (id: string | null) => string
  onChanged: () => void
}) {
  const [open, setOpen] = useState<string | null>(null)

  async function again (id: string) {
    await attempt(() => webhooks.redeliver(id), 'The event is sent again.')
    onChanged()
  }

  if (deliveries.length === 0) return null
  return (
    <>
      <ul class='rows'>
        {deliveries.map(delivery => (
          <li key={delivery.id} class='delivery'>
            <div class='delivery-text'>
              <p><strong>{delivery.type}</strong> <span class='muted'>to</span> {delivery.url}</p>
              <p class='hint'>
                <span title={momentText(delivery.created_at)}>{ago(delivery.created_at)}</span>, {plural(delivery.attempts, 'attempt')}{delivery.last_status === null ? '' : `, last answer ${delivery.last_status}`}{delivery.next_attempt_at === null ? '' : `, next ${ago(delivery.next_attempt_at)}`}, {nameOf(delivery.api_key_id)}
              </p>
              {delivery.reason && delivery.state !== 'delivered' && <p class='problem'>{delivery.reason}</p>}
            </div>
            <DeliveryState state={delivery.state} />
            <div class='actions'>
              <button
                type='button' class='button quiet' aria-label={`Log of ${delivery.id}`}
                onClick={() => setOpen(delivery.id)}
              >Log
              </button>
              {delivery.state !== 'pending' && <button type='button' class='button quiet' aria-label={`Send ${delivery.id} again`} onClick={() => again(delivery.id)}><Icon name='again' />Again</button>}
            </div>
          </li>
        ))}
      </ul>
      {open !== null && <DeliveryLog id={open} onClose={() => setOpen(null)} onChanged={onChanged} />}
    </>
  )
}

/** One event with all attempts to deliver it. */
function DeliveryLog ({ id, onClose, onChanged }: { id: string, onClose: () => void, onChanged: () => void }) {
  const { data, error, reload } = useLive(signal => webhooks.delivery(id, signal), [id], {
    interval: often, about: aboutDeliveries
  })
  if (data === undefined) return <Dialog title='Delivery' onClose={onClose}><Loading error={error} /></Dialog>
  const { delivery, body } = data

  async function act (how: () => Promise<Outcome>, sentence: string) {
    await attempt(how, sentence)
    reload()
    onChanged()
  }

  return (
    <Dialog title={delivery.type} onClose={onClose} wide>
      <p class='job-status'><DeliveryState state={delivery.state} /> <span class='muted'>{delivery.url}</span></p>
      {delivery.reason && <p>{delivery.reason}</p>}
      <DeliveryBody data={data} />
      <div class='dialog-actions'>
        {delivery.job_id !== null && <a class='button quiet' href={`#/job/${delivery.job_id}`}>Job</a>}
        <CopyButton label='Copy body' what='The body was' text={body} />
        {delivery.state === 'pending'
          ? <button type='button' class='button' onClick={() => act(() => webhooks.stop(id), 'The delivery is stopped.')}><Icon name='stop' />Stop</button>
          : <button type='button' class='button primary' onClick={() => act(() => webhooks.redeliver(id), 'The event is sent again.')}><Icon name='again' />Send again</button>}
      </div>
    </Dialog>
  )
}

/** The sent body, and the result of each attempt. */
export function DeliveryBody ({ data: { delivery, body, attempts } }: {
  data: Pick<WholeDelivery, 'delivery' | 'body' | 'attempts'>
}) {
  return (
    <>
      <dl class='facts-list'>
        <div><dt>Event</dt><dd><code>{delivery.id}</code></dd></div>
        <div><dt>Happened</dt><dd>{momentText(delivery.created_at)}</dd></div>
        {delivery.next_attempt_at !== null && <div><dt>Next attempt</dt><dd>{momentText(delivery.next_attempt_at)}</dd></div>}
      </dl>
      <section aria-label='Attempts'>
        <h3>Attempts</h3>
        {attempts.length === 0 && <p class='muted'>None yet.</p>}
        <ol class='attempts-log'>
          {attempts.map(attempt => (
            <li key={attempt.attempt}>
              <p><strong>{attempt.status ?? 'No answer'}</strong> <span class='hint numbers'>{momentText(attempt.started_at)}, {attempt.duration_ms} ms{attempt.address === null ? '' : `, ${attempt.address}`}, {attempt.request_bytes} bytes sent</span></p>
              {attempt.error && <p class='problem'>{attempt.error}</p>}
              {attempt.response_body && <pre class='answer' tabindex={0}>{attempt.response_body}</pre>}
              {attempt.next_at !== null && <p class='hint'>Next at {momentText(attempt.next_at)}</p>}
            </li>
          ))}
        </ol>
      </section>
      <details><summary>Body</summary><pre class='answer' tabindex={0}>{indented(body)}</pre></details>
    </>
  )
}

function indented (text: string) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}
