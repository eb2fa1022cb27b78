import { type Audience, createEventFilter } from '../../src/events/filter.ts'
import type { EventBus } from '../../src/events/event-bus.ts'
import { isLast } from '../../src/jobs/history.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import { encode, type EventStream, textOf, written } from './event-stream.ts'
import { type EventViews, resetMessage, streamEvent } from './render-event.ts'
import { sendSoon } from './send-soon.ts'

/** Streams that get the same events from now on: each event is filtered, written and encoded once for all of them. */
export interface StreamGroups {
  /** Sends the stream all that comes after the bus' head, until it ends. */
  join (stream: EventStream, audience: Audience): void
}

export interface StreamGroupsDependencies {
  readonly eventBus: Pick<EventBus, 'listen'>
  readonly views: EventViews
}

interface StreamGroup {
  add (stream: EventStream): void
}

export function createStreamGroups ({ eventBus, views }: StreamGroupsDependencies): StreamGroups {
  const groups = new Map<string, StreamGroup>()

  function open (audience: Audience, base: string, onEmpty: () => void): StreamGroup {
    const members = new Set<EventStream>()
    const accepts = createEventFilter(audience)
    let waiting: string[] = []

    function write (message: string, isUrgent: boolean): void {
      if (waiting.push(message) === 1 || isUrgent) sendSoon(flush, isUrgent)
    }

    function flush (): void {
      const messages = waiting
      waiting = []
      if (messages.length === 0) return
      const encoded = encode(messages)
      for (const member of members) member.put(encoded)
    }

    const stop = eventBus.listen({
      onEvent (event) { if (accepts(event)) write(textOf(event, views, base), isLast(event)) },
      onGap (head) { write(written(head, 'reset', stringifyJson(streamEvent('reset', head, resetMessage))), true) }
    })

    return {
      add (stream) {
        // The newcomer has got already what still waits for the others.
        flush()
        members.add(stream)
        stream.signal.addEventListener('abort', () => {
          members.delete(stream)
          if (members.size > 0) return
          stop()
          onEmpty()
        }, { once: true })
      }
    }
  }

  return {
    join (stream, audience) {
      if (stream.signal.aborted) return
      const name = JSON.stringify([stream.base, audience])
      let group = groups.get(name)
      if (group === undefined) {
        group = open(audience, stream.base, () => { groups.delete(name) })
        groups.set(name, group)
      }
      group.add(stream)
    }
  }
}
