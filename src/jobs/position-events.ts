import type { EventKind } from '../../schemas/event.ts'
import type { Estimates, QueueEstimate } from './estimates.ts'
import type { Log } from '../lib/logging.ts'
import type { ServiceEvent } from '../events/event.ts'
import type { EventBus } from '../events/event-bus.ts'

/** Tells listeners where jobs stand now, whenever a line has moved. */
export interface PositionBroadcaster {
  close (): void
}

export interface PositionBroadcasterDependencies {
  readonly eventBus: EventBus
  readonly estimates: Pick<Estimates, 'line' | 'places'>
  readonly log: Log
  /** Whether anybody listens. */
  readonly isHeard: () => boolean
}

/** Places that are told; further back nobody looks at each step forward. */
const placesTold = 100
/** What moves within so many milliseconds is told together. */
const together = 250

/** What a line looks different after. */
const movers = new Set<EventKind>([
  'accepted', 'started', 'completed', 'failed', 'cancelled', 'returned', 'moved',
  'server-up', 'server-down', 'server-paused', 'server-resumed', 'server-changed'
])

/** Places follow from the line at the moment of asking, so they are worked out here, while somebody listens. */
export function startPositionBroadcaster (
  { eventBus, estimates, log, isHeard }: PositionBroadcasterDependencies
): PositionBroadcaster {
  const told = new Map<string, Map<string, number>>()
  const due = new Map<string, NodeJS.Timeout>()

  function hear ({ kind, serverId, data }: ServiceEvent): void {
    if (!movers.has(kind)) return
    if (serverId !== null) lookSoon(serverId)
    if (typeof data.from === 'string') lookSoon(data.from)
  }

  function lookSoon (serverId: string): void {
    if (due.has(serverId)) return
    due.set(serverId, setTimeout(() => {
      due.delete(serverId)
      if (!isHeard()) told.delete(serverId)
      else look(serverId).catch(error => { log.debug({ err: error }, 'places could not be read') })
    }, together))
  }

  async function look (serverId: string): Promise<void> {
    const [line, places] = await Promise.all([estimates.line(serverId), estimates.places(serverId, placesTold)])
    const before = told.get(serverId)
    told.set(serverId, new Map(places.map(({ jobId, position }) => [jobId, position])))
    eventBus.tell(queueEvent(serverId, line))
    for (const { jobId, keyId, position, estimate } of places) {
      if (before?.get(jobId) === position) continue
      eventBus.tell({
        ...live(serverId),
        kind: 'place',
        jobId,
        keyId,
        status: 'pending',
        data: { position, startsIn: estimate?.startsIn ?? null, endsIn: estimate?.endsIn ?? null }
      })
    }
  }

  const forget = eventBus.listen({ heard: hear, lost () { told.clear() } })
  return {
    close () {
      forget()
      for (const timer of due.values()) clearTimeout(timer)
    }
  }
}

function queueEvent (serverId: string, line: QueueEstimate) {
  return { ...live(serverId), kind: 'queue' as const, jobId: null, keyId: null, status: null, data: { ...line } }
}

function live (serverId: string) {
  return { id: null, serverId, moment: Date.now() }
}
