import type { EventKind } from '../../schemas/event.ts'
import { hasEnded } from '../../schemas/job.ts'
import type { Job } from './job.ts'
import type { StoredEvent } from '../events/event.ts'
import type { EventLog } from '../events/event-log.ts'
import type { EventFilter } from '../events/filter.ts'

/** What is kept of the events after one. */
export interface StoredHistory {
  /** Whether some are not kept any more. */
  readonly gap: boolean
  readonly events: readonly StoredEvent[]
}

const lastKinds = new Set<EventKind>(['completed', 'failed', 'cancelled', 'removed'])

/** Whether nothing is to be expected of a job after this, unless somebody retries it. */
export function isLast ({ kind }: { readonly kind: EventKind }): boolean {
  return lastKinds.has(kind)
}

/** All events after an id that a listener gets; meant for those of one job, which are few. */
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
 * Stands for the end of a job whose own event is not kept any more, or lies before what the listener asked for.
 * @param id where the stream stands
 * @returns null for a job that has not ended
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
