import type { Attempt, Delivery, WholeDelivery } from '../lib/api-types.ts'
import type { Outcome } from '../lib/messages.ts'
import { ago, momentText } from '../lib/format.ts'
import { useState } from 'preact/hooks'
import { aboutDeliveries, often, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { CopyButton } from './copy-button.tsx'
import { Dialog } from './dialog.tsx'
import { Icon } from './icon.tsx'
import { OnceButton } from './once-button.tsx'
import { Loading } from './page-head.tsx'
import { common } from '../texts/en/common.ts'
import { t } from '../texts/en/webhooks.ts'

/** Words and colours. */
export const deliveryStates: Readonly<Record<string, readonly [string, string]>> = {
  pending: [t.onItsWay, 'active'], delivered: [t.delivered, 'good'], failed: [common.failed, 'bad'], blocked: [t.blocked, 'bad'], skipped: [t.skipped, 'still']
}

export function DeliveryState ({ state }: { state: Delivery['state'] }) {
  const [word, tone] = deliveryStates[state] ?? [state, 'still']
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
    const isDone = await attempt(() => webhooks.redeliver(id), t.eventIsSentAgain)
    onChanged()
    return isDone
  }

  if (deliveries.length === 0) return null
  return (
    <>
      <ul class='rows'>
        {deliveries.map(delivery => (
          <li key={delivery.id} class='delivery'>
            <div class='delivery-text'>
              <p>{t.typeTo({ type: <strong>{delivery.type}</strong>, url: delivery.url })}</p>
              <p class='hint'>
                <span title={momentText(delivery.created_at)}>{ago(delivery.created_at)}</span>, {t.attemptsMade(delivery.attempts)}{delivery.last_status === null ? '' : t.lastAnswer(delivery.last_status)}{delivery.next_attempt_at === null ? '' : t.nextWhen(ago(delivery.next_attempt_at))}, {nameOf(delivery.api_key_id)}
              </p>
              {delivery.reason && delivery.state !== 'delivered' && <p class='problem'>{delivery.reason}</p>}
            </div>
            <DeliveryState state={delivery.state} />
            <div class='actions'>
              <button
                type='button' class='button quiet' aria-label={t.logOf(delivery.id)}
                onClick={() => setOpen(delivery.id)}
              >{t.log}
              </button>
              {delivery.state !== 'pending' && <OnceButton class='button quiet' aria-label={t.sendIdAgain(delivery.id)} act={() => again(delivery.id)}><Icon name='again' />{t.again}</OnceButton>}
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
  if (data === undefined) return <Dialog title={t.delivery} onClose={onClose}><Loading error={error} /></Dialog>
  const { delivery, body } = data

  async function act (how: () => Promise<Outcome>, sentence: string) {
    const isDone = await attempt(how, sentence)
    reload()
    onChanged()
    return isDone
  }

  return (
    <Dialog title={delivery.type} onClose={onClose} wide>
      <p class='job-status'><DeliveryState state={delivery.state} /> <span class='muted'>{delivery.url}</span></p>
      {delivery.reason && <p>{delivery.reason}</p>}
      <DeliveryBody data={data} />
      <div class='dialog-actions'>
        {delivery.job_id !== null && <a class='button quiet' href={`#/job/${delivery.job_id}`}>{common.job}</a>}
        <CopyButton label={t.copyBody} copied={t.bodyCopied} text={body} />
        {delivery.state === 'pending'
          ? <OnceButton key='stop' class='button' act={() => act(() => webhooks.stop(id), t.deliveryIsStopped)}><Icon name='stop' />{t.stop}</OnceButton>
          : <OnceButton key='again' class='button primary' act={() => act(() => webhooks.redeliver(id), t.eventIsSentAgain)}><Icon name='again' />{t.sendAgain}</OnceButton>}
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
        <div><dt>{t.event}</dt><dd><code>{delivery.id}</code></dd></div>
        <div><dt>{t.happened}</dt><dd>{momentText(delivery.created_at)}</dd></div>
        {delivery.next_attempt_at !== null && <div><dt>{t.nextAttempt}</dt><dd>{momentText(delivery.next_attempt_at)}</dd></div>}
      </dl>
      <section aria-label={t.attempts}>
        <h3>{t.attempts}</h3>
        {attempts.length === 0 && <p class='muted'>{t.noneYet}</p>}
        <ol class='attempts-log'>
          {attempts.map(attempt => (
            <li key={attempt.attempt}>
              <p><strong>{attempt.status ?? t.noAnswer}</strong> <span class='hint numbers'>{factsOf(attempt)}</span></p>
              {attempt.error && <p class='problem'>{attempt.error}</p>}
              {attempt.response_body && <pre class='answer' tabindex={0}>{attempt.response_body}</pre>}
              {attempt.next_at !== null && <p class='hint'>{t.nextAt(momentText(attempt.next_at))}</p>}
            </li>
          ))}
        </ol>
      </section>
      <details><summary>{t.body}</summary><pre class='answer' tabindex={0}>{indented(body)}</pre></details>
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

function factsOf ({ started_at: at, duration_ms: ms, address, request_bytes: bytes }: Attempt) {
  return t.attemptFacts({ when: momentText(at), ms, address, bytes })
}
