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
  readonly eventBus: Pick<EventBus, 'listen' | 'listened' | 'emit'>
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
  /** The event of each server's queue, without its moment. */
  let publishedQueues = new Map<string, string>()
  /** How many had listened by then. */
  let publishedTo = 0
  let due: NodeJS.Timeout | undefined

  function onEvent ({ kind }: ServiceEvent): void {
    if (!movers.has(kind) || due !== undefined) return
    due = setTimeout(() => {
      due = undefined
      if (!hasListeners()) forgetPublished()
      else look().catch(error => { log.debug({ err: error }, 'positions could not be read') })
    }, together)
  }

  /** Jobs wait for any server, so every event can move all of them. One that comes later gets each queue once. */
  async function look (): Promise<void> {
    const positions = await estimates.positions(publishedPositions)
    const before = published
    published = new Map(positions.map(({ jobId, position }) => [jobId, position]))
    const listened = eventBus.listened()
    const queues = await Promise.all(servers().map(async id => queueEvent(id, await estimates.queue(id))))
    const queuesBefore = publishedQueues
    publishedQueues = new Map(queues.map(({ serverId, data }) => [serverId, JSON.stringify(data)]))
    for (const event of queues) {
      const { serverId } = event
      const isKnown = listened === publishedTo && queuesBefore.get(serverId) === publishedQueues.get(serverId)
      if (!isKnown) eventBus.emit(event)
    }
    publishedTo = listened
    for (const { jobId, keyId, position, estimate } of positions) {
      if (before.get(jobId) === position) continue
      eventBus.emit({
        ...live(),
        serverId: null,
        kind: 'place',
        jobId,
        keyId,
        status: 'pending',
        data: { position, startsIn: estimate?.startsIn ?? null, endsIn: estimate?.endsIn ?? null }
      })
    }
  }

  function forgetPublished (): void {
    published.clear()
    publishedQueues.clear()
  }

  const forget = eventBus.listen({ onEvent, onGap: forgetPublished })
  return {
    close () {
      forget()
      clearTimeout(due)
    }
  }
}

/** To a tenth of a second, as listeners get it: a smaller change is none. */
function queueEvent (serverId: string, { seconds, ...counts }: QueueEstimate) {
  const data = { ...counts, seconds: seconds === null ? null : Math.round(seconds * 10) / 10 }
  return { ...live(), serverId, kind: 'queue' as const, jobId: null, keyId: null, status: null, data }
}

function live () {
  return { id: null, moment: Date.now() }
}
