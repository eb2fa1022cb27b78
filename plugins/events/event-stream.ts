import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Readable } from 'node:stream'
import type { ServiceEvent } from '../../src/events/event.ts'
import { isLast } from '../../src/jobs/history.ts'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import type { EventViews } from './render-event.ts'
import { countStream, sendAll, sendSoon } from './send-soon.ts'
import type { EventSubscriber } from './subscriber.ts'

/** One answer of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export interface EventStream extends EventSubscriber {
  /** A comment line that clients skip, so that proxies and we notice a broken connection. */
  beat (): void
  /** Sends this, and before it everything of its own that waits to be sent. */
  put (encoded: Encoded): void
  readonly body: Readable
}

/** Messages as bytes, and as one chunk of an answer in chunks, RFC 9112 section 7.1. */
export interface Encoded {
  readonly bytes: Buffer
  readonly chunk: Buffer
}

/** Limit of bytes that wait for a reader; a slower one is dropped, and catches up when it connects again. */
const maxWaiting = 256 * 1024

/** Time after which browsers connect again, in milliseconds. */
const retryMs = 2000

let last: { readonly event: ServiceEvent, readonly base: string, readonly message: string } | undefined

/** The message of an event, which most streams get one after the other. */
export function textOf (event: ServiceEvent, views: EventViews, base: string): string {
  if (last?.event !== event || last.base !== base) {
    last = { event, base, message: written(event.id, event.kind, views.text(event, base)) }
  }
  return last.message
}

export function written (id: string | null, kind: string, json: string): string {
  return `${id === null ? '' : `id: ${id}\n`}event: ${kind}\ndata: ${json}\n\n`
}

export function encode (messages: readonly string[]): Encoded {
  const text = messages.join('')
  const head = `${Buffer.byteLength(text).toString(16)}\r\n`
  const chunk = Buffer.from(`${head}${text}\r\n`)
  return { bytes: chunk.subarray(head.length, -2), chunk }
}

export function openEventStream (views: EventViews, base: string, raw: ServerResponse): EventStream {
  const ended = new AbortController()
  let isOver = false
  let wakeUps: Array<() => void> = []
  const wake = () => {
    for (const wakeUp of wakeUps) wakeUp()
    wakeUps = []
  }
  const over = () => {
    isOver = true
    ended.abort()
    wake()
  }
  const body = new Readable({ read: wake })
  const uncount = countStream()
  body.once('close', () => {
    uncount()
    over()
  })
  // A reader that disconnects is no fault.
  body.on('error', () => {})

  let hasBegun = false

  /**
   * The connection, if it has all that was pushed and takes more. A chunk that is written to it directly is one write;
   * from the body, Node writes it in four pieces, through two more streams.
   */
  function freeSocket (): Socket | null {
    const { socket } = raw
    const isInAnswer = hasBegun && body.readableLength === 0 && raw.headersSent && raw.chunkedEncoding
    return isInAnswer && socket?.writable === true && !socket.writableNeedDrain ? socket : null
  }

  let waiting: string[] = []

  function write (message: string, isUrgent: boolean): void {
    if (isOver) return
    if (waiting.push(message) === 1 || isUrgent) sendSoon(flush, isUrgent)
  }

  function flush (): void {
    const messages = waiting
    waiting = []
    if (messages.length > 0) push(encode(messages))
  }

  function push ({ bytes, chunk }: Encoded): void {
    if (isOver || body.readableEnded || body.destroyed) return
    const socket = freeSocket()
    if (socket === null) body.push(bytes)
    else socket.write(chunk)
    hasBegun = true
    if (body.readableLength > maxWaiting) body.destroy(new Error('the reader is too slow'))
  }

  write(`retry: ${retryMs}\n\n`, true)
  return {
    base,
    body,
    signal: ended.signal,
    event (event) { write(textOf(event, views, base), isLast(event)) },
    view (view) { write(written(view.id, view.kind, stringifyJson(view)), true) },
    beat () { write(': still here\n\n', false) },
    put (encoded) {
      flush()
      push(encoded)
    },
    async ready () {
      flush()
      if (body.readableLength < body.readableHighWaterMark || isOver) return
      await new Promise<void>(resolve => { wakeUps.push(resolve) })
    },
    end () {
      if (isOver) return
      sendAll()
      body.push(null)
      over()
    }
  }
}
