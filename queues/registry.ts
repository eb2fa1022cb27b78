import type { Queue } from 'bullmq'
import type { Services } from '../src/services/services.ts'

/** A BullMQ queue under the name that people know it by. */
export interface NamedQueue {
  readonly name: string
  readonly about: string
  readonly queue: Queue
  /** How many entries it has in each of BullMQ's states. */
  readonly counts: () => Promise<Readonly<Record<string, number>>>
}

/** Every queue that there is at this moment; those of servers come and go with them. */
export function allQueues (
  { registry, queues, webhooks, models }: Pick<Services, 'registry' | 'queues' | 'webhooks' | 'models'>
): NamedQueue[] {
  return [
    ...registry.list().map(({ id, alias, address }) => named(alias, address.baseUrl, queues.queue(id))),
    named('Webhooks', 'Events on their way', webhooks.queue.queue),
    named('Downloads', 'Models that come in', models.downloadQueue.queue),
    named('Maintenance', 'Scans, purges and sweeps', models.maintenance.queue)
  ]
}

function named (name: string, about: string, queue: Queue): NamedQueue {
  return {
    name,
    about,
    queue,
    counts: async () => await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed')
  }
}
