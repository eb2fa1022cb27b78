import type { Delivery, Job } from '../lib/api-types.ts'
import { momentText } from '../lib/format.ts'

import { aboutDeliveriesOf, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { webhooks } from '../lib/webhook-service.ts'
import { DeliveryState } from './deliveries.tsx'
import { OnceButton } from './once-button.tsx'
import { t } from '../texts/en/webhooks.ts'

/** The job's events to its receiver. */
export function JobDeliveries ({ job }: { job: Job }) {
  const { data: deliveries, reload } = useLive(signal => jobs.deliveries(job.id, signal), [job.id],
    { about: aboutDeliveriesOf(job.id) })
  if (job.webhook === null) return null

  async function again (delivery: Delivery) {
    const isDone = await attempt(() => webhooks.redeliver(delivery.id), t.eventIsSentAgain)
    reload()
    return isDone
  }

  return (
    <section class='card' aria-labelledby='deliveries'>
      <h2 id='deliveries'>{t.deliveries}</h2>
      <p class='hint'>{t.toUrl(<code>{job.webhook.url}</code>)}</p>
      {deliveries?.length === 0 && <p class='muted'>{t.noDeliveriesYet}</p>}
      <ul class='plain-rows'>
        {deliveries?.map(delivery => (
          <li key={delivery.id}>
            <div>
              <p><strong>{delivery.type}</strong> <DeliveryState state={delivery.state} /></p>
              <p class='hint'>
                {momentText(delivery.created_at)}, {t.attemptsMade(delivery.attempts)}
                {delivery.last_status === null ? '' : t.lastAnswer(delivery.last_status)}
                {delivery.next_attempt_at === null ? '' : t.nextWhen(momentText(delivery.next_attempt_at))}
              </p>
              {delivery.reason && <p class='hint'>{delivery.reason}</p>}
            </div>
            <OnceButton class='button' aria-label={t.sendTypeAgain(delivery.type)} act={() => again(delivery)}>
              {t.sendAgain}
            </OnceButton>
          </li>
        ))}
      </ul>
    </section>
  )
}
