import type { Redis } from 'ioredis'
import type { Log } from '../lib/logging.ts'
import type { Keys } from '../lib/keys.ts'
import { isAfter, isStored, parseMessage, type ServiceEvent, type StoredEvent } from './event.ts'
import type { EventLog } from './event-log.ts'

/** A listener in this process to all events. */
export interface EventListener {
  /** Must not throw. */
  onEvent (event: ServiceEvent): void
  /** Events were missed that are not stored any more; the stream continues after this id. */
  onGap (head: string): void
}

/** All events, in order and each once, for any number of listeners over one connection. */
export interface EventBus {
  /** Id of the last stored event that the listeners got. */
  head (): string
  readonly log: EventLog
  /** Returns a function that ends it. */
  listen (listener: EventListener): () => void
  /** How many have listened so far; grows when another one comes. */
  listened (): number
  /** Sends the listeners of this process an event that is not stored. */
  emit (event: ServiceEvent & { readonly id: null }): void
  close (): void
}

export interface EventBusDependencies {
  readonly eventLog: EventLog
  /** A connection in subscriber mode, shared in this process; the client closes it. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly log: Log
}

/** Pause before the stream is read again after a failure, in milliseconds. */
const readAgainMs = 500

/**
 * Receives events from a channel, where stored and ephemeral ones come in their order. Events that were published while
 * the connection was down are read from the stream when it is back.
 */
export async function openEventBus (dependencies: EventBusDependencies): Promise<EventBus> {
  const { eventLog, subscriber, keys, log } = dependencies
  const channel = keys.channel('jobs')
  const listeners = new Set<EventListener>()
  const closing = new AbortController()
  let catchingUp = false
  /** The connection came back, possibly while the events of the former outage were still being read. */
  let wanted = false
  let listened = 0
  /** Newest stored event that was received, sent on or not. */
  let newest = ''
  await subscriber.subscribe(channel)
  let head = await eventLog.head()

  function emit (event: ServiceEvent): void {
    for (const listener of listeners) listener.onEvent(event)
  }

  function emitStored (event: StoredEvent): void {
    if (!isAfter(event.id, head)) return
    head = event.id
    emit(event)
  }

  function hear (from: string, message: string): void {
    if (from !== channel) return
    const event = parseMessage(message)
    if (event === null) return
    if (event.id !== null) newest = event.id
    // Stored events come from the stream then, in its order.
    if (catchingUp) return
    if (isStored(event)) emitStored(event)
    else emit(event)
  }

  async function readOn (): Promise<void> {
    for (;;) {
      const page = await eventLog.after(head)
      if (closing.signal.aborted) return
      if (page.gap) {
        head = page.head
        for (const listener of listeners) listener.onGap(head)
      }
      page.events.forEach(emitStored)
      if (isAfter(page.next, head)) head = page.next
      if (head === page.head && (newest === '' || !isAfter(newest, head))) return
    }
  }

  async function catchUp (): Promise<void> {
    wanted = true
    if (catchingUp) return
    catchingUp = true
    while (wanted && !closing.signal.aborted) {
      wanted = false
      try {
        await subscriber.subscribe(channel)
        await readOn()
      } catch (error) {
        wanted = true
        log.debug({ err: error }, 'missed events cannot be read yet')
        await new Promise(resolve => { setTimeout(resolve, readAgainMs).unref() })
      }
    }
    catchingUp = false
  }

  function returned (): void {
    catchUp().catch(error => { log.error({ err: error }, 'events could not be caught up with') })
  }

  subscriber.on('message', hear)
  subscriber.on('ready', returned)
  // Between the read of the stream and this line, nothing listened to the channel.
  await catchUp()

  return {
    head: () => head,
    log: eventLog,
    listen (listener) {
      listened++
      listeners.add(listener)
      return () => { listeners.delete(listener) }
    },
    listened: () => listened,
    emit,
    close () {
      closing.abort()
      subscriber.off('message', hear)
      subscriber.off('ready', returned)
      listeners.clear()
    }
  }
}
