import type { Queue } from 'bullmq'
import type { ServerRegistry } from '../src/servers/registry.ts'
import type { DownloadQueue } from './downloads.ts'
import type { FlorenceQueue } from './florence.ts'
import type { GenerationQueues } from './generation-queue.ts'
import type { Maintenance } from './maintenance.ts'
import type { WebhookQueue } from './webhooks.ts'

/** A BullMQ queue under its public name. */
export interface NamedQueue {
  readonly name: string
  /** Those of servers are paused while their server cannot be used. */
  readonly of: 'server' | 'service'
  readonly about: string
  readonly queue: Queue
  /** The number of its entries in each of BullMQ's states. */
  readonly counts: () => Promise<Readonly<Record<string, number>>>
}

/** The queues of a process. */
export interface ProcessQueues {
  readonly registry: Pick<ServerRegistry, 'list'>
  readonly queues: Pick<GenerationQueues, 'queue' | 'waiting'>
  readonly webhooks: { readonly queue: Pick<WebhookQueue, 'queue'> }
  readonly models: { readonly downloadQueue: Pick<DownloadQueue, 'queue'>, readonly maintenance: Pick<Maintenance, 'queue'> }
  /** Null if no Florence is configured. */
  readonly florence: { readonly queue: Pick<FlorenceQueue, 'queue'> } | null
}

/**
 * Every current queue, for the dashboard, the metrics and the doctor; each server's queue exists as long as the server.
 * A new file of `queues/` that opens a queue adds a line here; a test checks that.
 */
export function allQueues ({ registry, queues, webhooks, models, florence }: ProcessQueues): NamedQueue[] {
  return [
    named('service', 'Waiting', 'Jobs that no server has claimed yet', queues.waiting()),
    ...registry.list().map(({ id, alias, address }) => named('server', alias, address.baseUrl, queues.queue(id))),
    named('service', 'Webhooks', 'Events on their way', webhooks.queue.queue),
    named('service', 'Downloads', 'Models that come in', models.downloadQueue.queue),
    named('service', 'Maintenance', 'Scans, purges and sweeps', models.maintenance.queue),
    ...(florence === null ? [] : [named('service', 'Florence', 'Questions to Florence-2', florence.queue.queue)])
  ]
}

function named (of: NamedQueue['of'], name: string, about: string, queue: Queue): NamedQueue {
  return {
    name,
    of,
    about,
    queue,
    counts: async () => await queue.getJobCounts('waiting', 'prioritized', 'active', 'delayed', 'failed')
  }
}
