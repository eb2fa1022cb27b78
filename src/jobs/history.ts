import type { EventKind } from '../../schemas/event.ts'
import { hasEnded } from '../../schemas/job.ts'
import type { Job } from './job.ts'
import type { StoredEvent } from '../events/event.ts'
import type { EventLog } from '../events/event-log.ts'
import type { EventFilter } from '../events/filter.ts'

/** The stored events after a given one. */
export interface StoredHistory {
  /** Whether some are no longer stored. */
  readonly gap: boolean
  readonly events: readonly StoredEvent[]
}

const lastKinds = new Set<EventKind>(['completed', 'failed', 'cancelled', 'removed'])

/** Whether this is the last event of a job, unless a client retries it. */
export function isLast ({ kind }: { readonly kind: EventKind }): boolean {
  return lastKinds.has(kind)
}

/** All events after an id that a listener gets; meant for the few events of one job. */
export async function readJobHistory (eventLog: EventLog, after: string, accepts: EventFilter): Promise<StoredHistory> {
  const events: StoredEvent[] = []
  for (let cursor = after; ;) {
    const page = await eventLog.after(cursor)
    if (page.gap) return { gap: true, events: [] }
    events.push(...page.events.filter(accepts))
    if (page.next === page.head) return { gap: false, events }
    cursor = page.next
  }
}

/**
 * A substitute for a job's final event that is no longer stored, or is older than the events that the listener
 * requested.
 * @param id the current end of the stream
 * @returns null for a job that has not finished
 */
export function endOf (job: Job, id: string): StoredEvent | null {
  const { status, error, result } = job
  if (!hasEnded(status)) return null
  const names = (result?.images ?? []).map(({ name }) => name)
  const failure = error === null ? {} : { code: error.code, message: error.message }
  return {
    id,
    kind: status,
    jobId: job.id,
    serverId: job.serverId,
    keyId: job.keyId,
    status,
    moment: job.endedAt ?? job.updatedAt,
    data: { ...failure, ...(names.length === 0 ? {} : { filenames: names }) }
  }
}
