import { Queue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Log } from '../src/log.ts'
import type { Keys } from '../src/redis/keys.ts'
import type { WebhookEntry, WebhookQueuePort } from '../src/webhooks/queue-port.ts'

/** All that Redis and the dashboard get to see of a delivery; everything else is in its record. */
export interface WebhookData {
  readonly eventId: string
  readonly round: number
}

export const webhookQueueName = 'webhooks'

export interface WebhookQueue extends WebhookQueuePort {
  readonly queue: Queue<WebhookData>
  /** Puts an entry that waits off, or forward. Nothing happens where it does not wait. */
  postpone (entry: WebhookEntry, delayMs: number): Promise<void>
  /** Takes an entry out whose delivery has ended, unless it is being worked on. */
  remove (entry: WebhookEntry): Promise<void>
  /** Adds an entry anew if the queue has lost it or given it up; whether it had. */
  restore (entry: WebhookEntry): Promise<boolean>
  close (): Promise<void>
}

/** The first round bears the event's own id, so that whatever adds it again adds nothing. */
function entryId ({ id, round }: WebhookEntry): string {
  return round === 0 ? id : `${id}_${round}`
}

const alive = new Set(['active', 'waiting', 'delayed', 'prioritized', 'waiting-children'])

/** The queue of deliveries, apart from those of generations: a slow receiver holds no server. */
export function createWebhookQueue (
  { connection, keys, log }: { readonly connection: Redis, readonly keys: Keys, readonly log: Log }
): WebhookQueue {
  const queue = new Queue<WebhookData>(webhookQueueName, {
    connection,
    prefix: keys.bullPrefix,
    skipVersionCheck: true,
    streams: { events: { maxLen: 1000 } }
  })
  queue.on('error', error => { log.debug({ queue: webhookQueueName, err: error }, 'queue connection') })

  async function add (entry: WebhookEntry): Promise<void> {
    await queue.add('deliver', { eventId: entry.id, round: entry.round }, {
      jobId: entryId(entry),
      // Further attempts follow our own schedule, kept in the record.
      attempts: 1,
      removeOnComplete: { age: 3600, count: 500 },
      removeOnFail: { age: 86_400, count: 500 }
    })
  }

  return {
    queue,
    add,
    async postpone (entry, delayMs) {
      const found = await queue.getJob(entryId(entry))
      // One that is not waiting, or not any more, is being seen to by somebody else.
      if (await found?.isDelayed()) await found?.changeDelay(delayMs).catch(() => {})
    },
    async remove (entry) {
      await queue.remove(entryId(entry))
    },
    async restore (entry) {
      const found = await queue.getJob(entryId(entry))
      if (found !== undefined && alive.has(await found.getState())) return false
      await found?.remove()
      await add(entry)
      return true
    },
    async close () {
      await queue.close()
    }
  }
}
