import { Readable } from 'node:stream'
import type { FastifyReply } from 'fastify'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import type { EventSubscriber } from './subscriber.ts'
import type { EventViews } from './render-event.ts'

/** One answer of server-sent events. https://html.spec.whatwg.org/multipage/server-sent-events.html */
export interface EventStream extends EventSubscriber {
  /** A comment line that clients skip, so that proxies and we notice a broken connection. */
  beat (): void
  readonly body: Readable
}

/** Limit of bytes that wait for a reader; a slower one is dropped, and catches up when it connects again. */
const maxWaiting = 256 * 1024

/** Time after which browsers connect again, in milliseconds. */
const retryMs = 2000

export function openEventStream (views: EventViews): EventStream {
  const ended = new AbortController()
  let wakeUps: Array<() => void> = []
  const wake = () => {
    for (const wakeUp of wakeUps) wakeUp()
    wakeUps = []
  }
  const body = new Readable({ read: wake })
  body.once('close', () => {
    ended.abort()
    wake()
  })
  // A reader that disconnects is no fault.
  body.on('error', () => {})

  function write (text: string): void {
    if (body.readableEnded || body.destroyed || ended.signal.aborted) return
    body.push(text)
    if (body.readableLength > maxWaiting) body.destroy(new Error('the reader is too slow'))
  }

  function send (id: string | null, kind: string, json: string): void {
    write(`${id === null ? '' : `id: ${id}\n`}event: ${kind}\ndata: ${json}\n\n`)
  }

  write(`retry: ${retryMs}\n\n`)
  return {
    body,
    signal: ended.signal,
    event (event) { send(event.id, event.kind, views.text(event)) },
    view (view) { send(view.id, view.kind, stringifyJson(view)) },
    beat () { write(': still here\n\n') },
    async ready () {
      if (body.readableLength < body.readableHighWaterMark || ended.signal.aborted) return
      await new Promise<void>(resolve => { wakeUps.push(resolve) })
    },
    end () {
      if (ended.signal.aborted) return
      body.push(null)
      ended.abort()
      wake()
    }
  }
}

/** The answer's head; no proxy may cache or buffer the stream. */
export function startAnswer (reply: FastifyReply): FastifyReply {
  return reply.headers({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store, no-transform',
    'x-accel-buffering': 'no'
  })
}
