import type { Delivery, Job } from '../lib/api-types.ts'
import { momentText, plural } from '../lib/format.ts'

import { aboutDeliveriesOf, useLive } from '../lib/live.ts'
import { attempt } from '../lib/messages.ts'
import { jobs } from '../lib/service.ts'
import { webhooks } from '../lib/webhook-service.ts'

const tones: Readonly<Record<string, string>> = { delivered: 'good', failed: 'bad', blocked: 'bad', skipped: 'still', stopped: 'still' }

/** The job's events to its receiver. */
export function JobDeliveries ({ job }: { job: Job }) {
  const { data: deliveries, reload } = useLive(signal => jobs.deliveries(job.id, signal), [job.id],
    { about: aboutDeliveriesOf(job.id) })
  if (job.webhook === null) return null

  async function again (delivery: Delivery) {
    await attempt(() => webhooks.redeliver(delivery.id), 'The event is sent again.')
    reload()
  }

  return (
    <section class='card' aria-labelledby='deliveries'>
      <h2 id='deliveries'>Deliveries</h2>
      <p class='hint'>To <code>{job.webhook.url}</code></p>
      {deliveries?.length === 0 && <p class='muted'>No deliveries yet.</p>}
      <ul class='plain-rows'>
        {deliveries?.map(delivery => (
          <li key={delivery.id}>
            <div>
              <p><strong>{delivery.type}</strong> <span class={`status ${tones[delivery.state] ?? 'active'}`}>{delivery.state}</span></p>
              <p class='hint'>
                {momentText(delivery.created_at)}, {plural(delivery.attempts, 'attempt')}
                {delivery.last_status === null ? '' : `, last answer ${delivery.last_status}`}
                {delivery.next_attempt_at === null ? '' : `, next ${momentText(delivery.next_attempt_at)}`}
              </p>
              {delivery.reason && <p class='hint'>{delivery.reason}</p>}
            </div>
            <button
              type='button' class='button' aria-label={`Send again: ${delivery.type}`}
              onClick={() => again(delivery)}
            >Send again
            </button>
          </li>
        ))}
      </ul>
    </section>
  )
}
