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
  /** Ids of the servers. */
  readonly servers: () => readonly string[]
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
  { eventBus, estimates, servers, log, hasListeners }: PositionBroadcasterDependencies
): PositionBroadcaster {
  let published = new Map<string, number>()
  let due: NodeJS.Timeout | undefined

  function onEvent ({ kind }: ServiceEvent): void {
    if (!movers.has(kind) || due !== undefined) return
    due = setTimeout(() => {
      due = undefined
      if (!hasListeners()) published.clear()
      else look().catch(error => { log.debug({ err: error }, 'positions could not be read') })
    }, together)
  }

  /** Jobs wait for any server, so every event can move all of them. */
  async function look (): Promise<void> {
    const positions = await estimates.positions(publishedPositions)
    const before = published
    published = new Map(positions.map(({ jobId, position }) => [jobId, position]))
    const queues = await Promise.all(servers().map(async id => queueEvent(id, await estimates.queue(id))))
    for (const event of queues) eventBus.emit(event)
    for (const { jobId, keyId, position, estimate } of positions) {
      if (before.get(jobId) === position) continue
      eventBus.emit({
        ...live(null),
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
      clearTimeout(due)
    }
  }
}

function queueEvent (serverId: string, queue: QueueEstimate) {
  return { ...live(serverId), kind: 'queue' as const, jobId: null, keyId: null, status: null, data: { ...queue } }
}

function live (serverId: string | null) {
  return { id: null, serverId, moment: Date.now() }
}
