import type { Redis } from 'ioredis'
import type { EventBus } from '../events/event-bus.ts'
import { anySignal } from '../lib/deadline.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import { isLast } from './history.ts'

/** A message of the channel `preview-wishes`: which jobs are watched, and for how long; '' means all. */
export interface PreviewRequest {
  readonly jobs: readonly string[]
  readonly milliseconds: number
  /** A client began to watch just now, and has not seen what was sent before. */
  readonly begins?: boolean
}

/** A message of the channel `previews`. */
export interface PreviewMessage {
  readonly job: string
  readonly key: string | null
  readonly server: string
  readonly width: number
  readonly height: number
  readonly moment: number
  /** base64 */
  readonly jpeg: string
}

/** The last preview that a server has shown of a job. */
export interface ShownPreview {
  readonly jpeg: Buffer
  readonly moment: number
}

/** Live previews in one process: only while a client watches here, and only the last one is kept. */
export interface Previews {
  /** Requests previews until the signal is aborted. @param jobId null for all jobs */
  watch (jobId: string | null, signal: AbortSignal): void
  /** The last preview, or the first that arrives before the signal is aborted; null if none does. */
  see (jobId: string, signal: AbortSignal): Promise<ShownPreview | null>
  close (): void
}

export interface PreviewsDependencies {
  readonly eventBus: EventBus
  readonly redis: Redis
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
  readonly log: Log
}

/** How often a watch is announced, and how long an announcement holds, in milliseconds. */
const requestInterval = 2000
const requestHolds = 5000
/** Number of jobs whose last preview is kept. */
const maxKept = 50

export function createPreviews ({ eventBus, redis, subscriber, keys, log }: PreviewsDependencies): Previews {
  const channel = keys.channel('previews')
  /** Number of watchers of each job; watchers of all jobs under the empty name. */
  const watchers = new Map<string, number>()
  const shown = new Map<string, ShownPreview>()
  const waiting = new Map<string, Set<(preview: ShownPreview) => void>>()
  let timer: NodeJS.Timeout | undefined

  const debug = (error: unknown) => { log.debug({ err: error }, 'previews are not to be had just now') }

  function announce (more: Pick<PreviewRequest, 'begins'> = {}): void {
    const message: PreviewRequest = { jobs: [...watchers.keys()], milliseconds: requestHolds, ...more }
    redis.publish(keys.channel('preview-wishes'), JSON.stringify(message)).catch(debug)
  }

  function begin (): void {
    subscriber.subscribe(channel).catch(debug)
    timer = setInterval(announce, requestInterval)
  }

  function end (): void {
    clearInterval(timer)
    timer = undefined
    shown.clear()
    if (subscriber.status === 'ready') subscriber.unsubscribe(channel).catch(debug)
  }

  function onMessage (from: string, text: string): void {
    if (from !== channel) return
    const { job, key, server, width, height, moment: timestamp, jpeg } = JSON.parse(text) as PreviewMessage
    const preview = { jpeg: Buffer.from(jpeg, 'base64'), moment: timestamp }
    shown.delete(job)
    shown.set(job, preview)
    const oldest = shown.keys().next()
    if (shown.size > maxKept && !oldest.done) shown.delete(oldest.value)
    waiting.get(job)?.forEach(take => { take(preview) })
    eventBus.emit({
      id: null,
      kind: 'preview',
      jobId: job,
      serverId: server,
      keyId: key,
      status: 'processing',
      moment: timestamp,
      data: { width, height }
    })
  }

  subscriber.on('message', onMessage)
  const forget = eventBus.listen({
    onEvent (event) { if (event.jobId !== null && isLast(event)) shown.delete(event.jobId) },
    onGap () { shown.clear() }
  })

  function watch (jobId: string | null, signal: AbortSignal): void {
    if (signal.aborted) return
    const name = jobId ?? ''
    if (watchers.size === 0) begin()
    watchers.set(name, (watchers.get(name) ?? 0) + 1)
    announce({ begins: true })
    signal.addEventListener('abort', () => {
      const left = (watchers.get(name) ?? 1) - 1
      if (left > 0) watchers.set(name, left)
      else watchers.delete(name)
      if (watchers.size === 0) end()
    }, { once: true })
  }

  return {
    watch,
    async see (jobId, signal) {
      const known = shown.get(jobId)
      if (known !== undefined) return known
      const done = new AbortController()
      const watching = anySignal(signal, done.signal)
      watch(jobId, watching.signal)
      const takers = waiting.get(jobId) ?? new Set()
      waiting.set(jobId, takers)
      let take: (preview: ShownPreview | null) => void = () => {}
      const giveUp = () => { take(null) }
      try {
        return await new Promise<ShownPreview | null>(resolve => {
          take = resolve
          takers.add(take)
          signal.addEventListener('abort', giveUp, { once: true })
          if (signal.aborted) giveUp()
        })
      } finally {
        takers.delete(take)
        if (takers.size === 0) waiting.delete(jobId)
        signal.removeEventListener('abort', giveUp)
        done.abort()
        watching.clear()
      }
    },
    close () {
      subscriber.off('message', onMessage)
      clearInterval(timer)
      forget()
    }
  }
}
