import type { EventView } from '../../schemas/event.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import type { EventBus } from '../../src/events/event-bus.ts'
import type { EventFilter } from '../../src/events/filter.ts'
import { catchUp } from '../../src/events/catch-up.ts'
import { readyMessage, resetMessage, streamEvent } from './render-event.ts'

/** Where one listener's events go, over whatever connection. */
export interface EventSubscriber {
  event (event: ServiceEvent): void
  /** What the stream says of itself, or a snapshot. */
  view (view: EventView): void
  /** Resolves when more can be taken; at once where the reader keeps up. */
  ready (): Promise<void>
  /** Nothing more is to come. */
  end (): void
  /** Aborted when it has ended, for whatever reason. */
  readonly signal: AbortSignal
}

/** What a listener to everything wants. */
export interface Request {
  readonly eventBus: EventBus
  /** The last event that it got; null where it is new. */
  readonly asked: string | null
  readonly accepts: EventFilter
}

/**
 * Resolves to what tells all that a listener wants, first what it missed.
 * @throws what Redis throws where it cannot be read what was missed
 */
export async function prepareAll (
  { eventBus, asked, accepts }: Request
): Promise<(eventSubscriber: EventSubscriber) => Promise<void>> {
  if (asked !== null) await eventBus.log.head()
  return async eventSubscriber => {
    const after = asked ?? eventBus.head()
    eventSubscriber.view(streamEvent('ready', after, readyMessage))
    await catchUp({
      eventBus,
      after,
      accepts,
      signal: eventSubscriber.signal,
      sink: {
        event: eventSubscriber.event,
        reset (head) { eventSubscriber.view(streamEvent('reset', head, resetMessage)) },
        ready: eventSubscriber.ready
      }
    })
  }
}
