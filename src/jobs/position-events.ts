import type { EventKind } from '../../schemas/event.ts'
import type { Estimates, QueueEstimate } from './estimates.ts'
import type { Log } from '../lib/logging.ts'
import type { ServiceEvent } from '../events/event.ts'
import type { EventBus } from '../events/event-bus.ts'

/** Publishes the positions of jobs to listeners whenever a queue has moved. */
export interface PositionBroadcaster {
  close (): void
}

export interface PositionBroadcasterDependencies {
  readonly eventBus: EventBus
  readonly estimates: Pick<Estimates, 'queue' | 'positions'>
  readonly log: Log
  /** Whether there are listeners. */
  readonly hasListeners: () => boolean
}

/** Number of positions that are published; further back each step forward is of no interest. */
const publishedPositions = 100
/** Moves within this many milliseconds are published together. */
const together = 250

/** Events that change a queue. */
const movers = new Set<EventKind>([
  'accepted', 'started', 'completed', 'failed', 'cancelled', 'returned', 'moved',
  'server-up', 'server-down', 'server-paused', 'server-resumed', 'server-draining', 'server-changed'
])

/** Positions follow from the current queue, so they are computed here, while there are listeners. */
export function startPositionBroadcaster (
  { eventBus, estimates, log, hasListeners }: PositionBroadcasterDependencies
): PositionBroadcaster {
  const published = new Map<string, Map<string, number>>()
  const due = new Map<string, NodeJS.Timeout>()

  function onEvent ({ kind, serverId, data }: ServiceEvent): void {
    if (!movers.has(kind)) return
    if (serverId !== null) lookSoon(serverId)
    if (typeof data.from === 'string') lookSoon(data.from)
  }

  function lookSoon (serverId: string): void {
    if (due.has(serverId)) return
    due.set(serverId, setTimeout(() => {
      due.delete(serverId)
      if (!hasListeners()) published.delete(serverId)
      else look(serverId).catch(error => { log.debug({ err: error }, 'positions could not be read') })
    }, together))
  }

  async function look (serverId: string): Promise<void> {
    const [queue, positions] = await Promise.all([
      estimates.queue(serverId), estimates.positions(serverId, publishedPositions)
    ])
    const before = published.get(serverId)
    published.set(serverId, new Map(positions.map(({ jobId, position }) => [jobId, position])))
    eventBus.emit(queueEvent(serverId, queue))
    for (const { jobId, keyId, position, estimate } of positions) {
      if (before?.get(jobId) === position) continue
      eventBus.emit({
        ...live(serverId),
        kind: 'place',
        jobId,
        keyId,
        status: 'pending',
        data: { position, startsIn: estimate?.startsIn ?? null, endsIn: estimate?.endsIn ?? null }
      })
    }
  }

  const forget = eventBus.listen({ onEvent, onGap () { published.clear() } })
  return {
    close () {
      forget()
      for (const timer of due.values()) clearTimeout(timer)
    }
  }
}

function queueEvent (serverId: string, queue: QueueEstimate) {
  return { ...live(serverId), kind: 'queue' as const, jobId: null, keyId: null, status: null, data: { ...queue } }
}

function live (serverId: string) {
  return { id: null, serverId, moment: Date.now() }
}
