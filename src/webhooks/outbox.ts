import type { Redis } from 'ioredis'
import type { JobEvent } from '../../schemas/webhook.ts'
import { parseJob } from '../jobs/job.ts'
import type { Keys } from '../redis/keys.ts'
import type { JobEventNotice } from './event-body.ts'

/** An event that became true together with the job's state, and is still to be made a delivery. */
export interface OutboxEntry {
  readonly entryId: string
  /** Null for an entry that nothing can be made of. */
  readonly notice: JobEventNotice | null
}

/** The scripts of the job record write it; whoever makes deliveries of it removes what is done. */
export interface Outbox {
  /** Oldest first. */
  read (count: number): Promise<OutboxEntry[]>
  remove (entryId: string): Promise<void>
}

export function createOutbox (redis: Redis, keys: Keys): Outbox {
  const stream = keys.key('webhook-outbox')
  return {
    async read (count) {
      const entries = await redis.xrange(stream, '-', '+', 'COUNT', count)
      return entries.map(([entryId, values]) => ({ entryId, notice: parseNotice(pairs(values)) }))
    },
    async remove (entryId) {
      await redis.xdel(stream, entryId)
    }
  }
}

function pairs (values: readonly string[]): Record<string, string> {
  const fields: Record<string, string> = {}
  for (let index = 0; index + 1 < values.length; index += 2) fields[values[index] ?? ''] = values[index + 1] ?? ''
  return fields
}

function parseNotice (fields: Readonly<Record<string, string>>): JobEventNotice | null {
  const job = parseJob(fields['@job'] ?? '', fields)
  if (job === null) return null
  return {
    type: fields['@event'] as JobEvent,
    moment: Number(fields['@moment']),
    sequence: Number(fields.webhookSequence),
    job
  }
}
