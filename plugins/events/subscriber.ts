import type { EventView } from '../../schemas/event.ts'
import type { ServiceEvent } from '../../src/events/event.ts'
import type { EventBus } from '../../src/events/event-bus.ts'
import { type Audience, createEventFilter } from '../../src/events/filter.ts'
import { catchUp } from '../../src/events/catch-up.ts'
import { readyMessage, resetMessage, streamEvent } from './render-event.ts'

/** Target of one listener's events, over any connection. */
export interface EventSubscriber {
  /** The path before all addresses of this service; see `base` of a request. */
  readonly base: string
  event (event: ServiceEvent): void
  /** A message of the stream itself, or a snapshot. */
  view (view: EventView): void
  /** Resolves when it takes more; at once if the reader keeps up. */
  ready (): Promise<void>
  /** There are no further events. */
  end (): void
  /** Aborted when it has ended, for any reason. */
  readonly signal: AbortSignal
}

/** Options of a listener to everything. */
export interface Request {
  readonly eventBus: EventBus
  /** The last event that it got; null for a new listener. */
  readonly asked: string | null
  readonly audience: Audience
}

/**
 * Sends a listener's events, the missed ones first. Without `follow` it sends the later ones too; see `catchUp`.
 */
export type SendAllEvents = (eventSubscriber: EventSubscriber, follow?: () => void) => Promise<void>

/**
 * Resolves to a function that sends the listener's events.
 * @throws errors of Redis if the missed events cannot be read
 */
export async function prepareAll ({ eventBus, asked, audience }: Request): Promise<SendAllEvents> {
  if (asked !== null) await eventBus.log.head()
  const accepts = createEventFilter(audience)
  return async (eventSubscriber, follow) => {
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
      },
      follow
    })
  }
}
