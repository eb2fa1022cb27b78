import { setTimeout as pause } from 'node:timers/promises'
import { redisProblemOf } from '../redis/errors.ts'
import { isAfter, type ServiceEvent } from './event.ts'
import type { EventPage } from './event-log.ts'
import type { EventBus } from './event-bus.ts'

/** Target of one listener's events. */
export interface EventSink {
  event (event: ServiceEvent): void
  /** Events were missed that are not stored any more; the stream continues after this id. */
  reset (head: string): void
  /** Resolves when it takes more; at once if the receiver keeps up. */
  ready (): Promise<void>
}

export interface CatchUpOptions {
  readonly eventBus: EventBus
  /** Continues after this event. */
  readonly after: string
  readonly accepts: (event: ServiceEvent) => boolean
  readonly sink: EventSink
  readonly signal: AbortSignal
  /** Sends the events after the bus' head in another way. Called in the step in which none lies between the two. */
  readonly follow?: (() => void) | undefined
}

/** Pause before the stream is read again if Redis gave nothing, in milliseconds. */
const readAgainMs = 500

/**
 * Sends one listener the missed events first and then new ones, each stored event once and in order, until the signal
 * is aborted, or `follow` takes over. Missed events are read at the receiver's pace, so nothing piles up meanwhile.
 * While Redis gives nothing, it waits. Resolves when it has caught up.
 */
export async function catchUp ({ eventBus, after, accepts, sink, signal, follow }: CatchUpOptions): Promise<void> {
  let cursor = after
  let caughtUp = false

  function pass (event: ServiceEvent): void {
    if (event.id !== null) {
      if (!isAfter(event.id, cursor)) return
      cursor = event.id
    }
    if (accepts(event)) sink.event(event)
  }

  async function read (): Promise<EventPage | null> {
    try {
      return await eventBus.log.after(cursor)
    } catch (error) {
      if (redisProblemOf(error) === null) throw error
      await pause(readAgainMs, undefined, { signal, ref: false }).catch(() => {})
      return null
    }
  }

  const stop = eventBus.listen({
    onEvent (event) { if (caughtUp) pass(event) },
    onGap (head) {
      if (!caughtUp) return
      cursor = head
      sink.reset(head)
    }
  })
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  try {
    // An id of the listener's own is compared with the stream at least once.
    let known = after === eventBus.head()
    while (!signal.aborted) {
      // No event can come between this check and the end of the loop, so none is lost between the two ways.
      if (known && !isAfter(eventBus.head(), cursor)) break
      known = true
      const page = await read()
      if (page === null) continue
      if (page.gap) {
        cursor = page.head
        sink.reset(page.head)
        continue
      }
      page.events.forEach(pass)
      if (isAfter(page.next, cursor)) cursor = page.next
      await sink.ready()
    }
    caughtUp = true
    // After a read from another process's stream, this one's bus can still be behind; such a listener stays on its own.
    if (follow === undefined || signal.aborted || isAfter(cursor, eventBus.head())) return
    stop()
    follow()
  } catch (error) {
    stop()
    throw error
  }
}
