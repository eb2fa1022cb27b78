import type { WebSocket } from '@fastify/websocket'
import type { FastifyInstance } from 'fastify'
import { stringifyJson } from '../../src/lib/exact-json.ts'
import type { StudioJob } from '../../schemas/studio-job.ts'
import type { EventFeed } from '../../src/events/feed.ts'
import type { ServiceEvent } from '../../src/events/event.ts'

/** What a socket shows: one view after the other of jobs, or of something that looks like one. */
export interface Watch {
  /** Ids of what is shown at first, and again when events were missed. */
  begin (): Promise<readonly string[]>
  /** Id of the view that an event changes; null for none. */
  concerns (event: ServiceEvent): Promise<string | null> | string | null
  /** As it is now; null where it is gone. */
  view (id: string): Promise<StudioJob | null>
  /** What to do when a view is gone or over. */
  readonly after: 'close' | 'go on'
}

/** In place of the text of a view that came to its end. */
const over = 'over'
/** RFC 6455, §7.4.1, and what was registered since: normal end, our own fault, service restart. */
const normalEnd = 1000
const ownFault = 1011
const serviceRestart = 1012
/** How often the other end is asked whether it is there, in milliseconds. */
const pingMs = 20_000
/** Most bytes that wait for a reader; one that is slower gets the next view when it has caught up. */
const mostWaiting = 64 * 1024

/**
 * Sends views over sockets: each at once and at every change, until its end. A view is read anew at each notice, so
 * that none which was missed can matter.
 * @returns what begins it for one socket; `failed` hears of what could not be read
 */
export function createWatching (app: FastifyInstance, feed: Pick<EventFeed, 'listen'>) {
  const open = new Set<WebSocket>()
  app.addHook('preClose', async () => {
    for (const socket of open) socket.close(serviceRestart, 'the service stops')
  })

  return function begin (socket: WebSocket, watch: Watch, failed: (error: unknown) => void): void {
    /** What was last sent of each view; `over` where that was its end, which is told once. */
    const shown = new Map<string, string>()
    const changed = new Set<string>()
    let looking = false

    async function show (id: string): Promise<void> {
      const view = await watch.view(id)
      if (view === null) {
        shown.delete(id)
        if (watch.after === 'close') socket.close(normalEnd, 'the job was deleted')
        return
      }
      const isOver = view.status === 'completed' || view.status === 'failed'
      const text = isOver ? over : stringifyJson(view)
      const before = shown.get(id)
      if (text !== before && (isOver || socket.bufferedAmount < mostWaiting)) {
        shown.set(id, text)
        const type = isOver ? view.status : before === undefined || before === over ? 'snapshot' : 'progress'
        socket.send(stringifyJson({ ...view, type }))
      }
      if (isOver && watch.after === 'close') socket.close(normalEnd, view.status)
    }

    /** One look at a time; whatever is heard meanwhile leads to one more. */
    async function look (): Promise<void> {
      if (looking) return
      looking = true
      try {
        for (const id of changed) {
          changed.delete(id)
          if (socket.readyState === socket.OPEN) await show(id)
        }
      } finally {
        looking = false
      }
    }

    function note (ids: Promise<readonly string[]>): void {
      ids.then(async found => {
        for (const id of found) changed.add(id)
        await look()
      }).catch(error => {
        failed(error)
        socket.close(ownFault, 'the jobs cannot be read just now')
      })
    }

    async function concerned (event: ServiceEvent): Promise<string[]> {
      const id = await watch.concerns(event)
      return id === null ? [] : [id]
    }

    async function lookAgain (): Promise<string[]> {
      const goingOn = [...shown].flatMap(([id, text]) => text === over ? [] : id)
      return [...goingOn, ...await watch.begin()]
    }

    const stop = feed.listen({
      heard: event => { note(concerned(event)) },
      lost: () => { note(lookAgain()) }
    })
    const ping = setInterval(() => { socket.ping() }, pingMs)
    open.add(socket)
    socket.on('close', () => {
      open.delete(socket)
      clearInterval(ping)
      stop()
    })
    note(watch.begin())
  }
}
