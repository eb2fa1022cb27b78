import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { createWakeUp } from '../lib/deadline.ts'
import type { Keys } from '../lib/keys.ts'
import type { Log } from '../lib/logging.ts'
import type { Semaphore } from '../lib/semaphore.ts'
import { loadScript } from '../redis/scripts.ts'

/**
 * Exclusive calls to servers that are not jobs, such as upscaling an image. A server does one thing at a time, so these
 * calls use the same send slot as generations. The process that serves the server grants the slot; the requesting
 * process makes the call itself, so that no image passes through Redis.
 */
export interface ExclusiveCalls {
  /**
   * Resolves once the call is granted, with the function that ends it.
   * @throws Error if the signal is aborted before that
   */
  take (serverId: string, signal: AbortSignal): Promise<() => Promise<void>>
  close (): void
}

/** The same, for the process that serves a server. */
interface ExclusiveCallQueue {
  /** The first call that waits or is already granted; calls of dead processes are removed. */
  first (): Promise<{ readonly id: string, readonly granted: boolean } | null>
  /** False if the requesting process is gone. */
  grant (id: string): Promise<boolean>
  /** Milliseconds until the requesting process counts as gone unless it asks again; null once its call is over. */
  remaining (id: string): Promise<number | null>
}

/** A process that has not asked again for this long is gone, in milliseconds. */
const lifetime = 15_000
const heartbeat = 5000

const queueKey = (keys: Keys, serverId: string) => keys.key('turns', serverId)
const callKey = (keys: Keys, id: string) => keys.key('turn', id)

const keepAsking = loadScript<[call: string, queue: string],
  [id: string, lifetimeMs: number, channel: string, serverId: string], 'waiting' | 'granted'>(
  new URL('scripts/keep-asking.lua', import.meta.url))

export interface ExclusiveCallsDependencies {
  readonly redis: Redis
  /** A connection in subscriber mode, which this process shares. */
  readonly subscriber: Redis
  readonly keys: Keys
}

export async function createExclusiveCalls (
  { redis, subscriber, keys }: ExclusiveCallsDependencies
): Promise<ExclusiveCalls> {
  const granted = keys.channel('turns-granted')
  const waiting = new Map<string, () => void>()
  const hear = (channel: string, id: string) => { if (channel === granted) waiting.get(id)?.() }
  subscriber.on('message', hear)
  await subscriber.subscribe(granted)

  async function ask (id: string, serverId: string) {
    return await keepAsking(redis, [callKey(keys, id), queueKey(keys, serverId)],
      [id, lifetime, keys.channel('turns'), serverId])
  }

  async function leave (id: string, serverId: string): Promise<void> {
    await redis.multi().del(callKey(keys, id)).lrem(queueKey(keys, serverId), 0, id)
      .publish(keys.channel('turns'), serverId).exec()
  }

  return {
    async take (serverId, signal) {
      signal.throwIfAborted()
      const id = randomUUID()
      let timer: NodeJS.Timeout | undefined
      let giveUp = () => {}
      const end = async () => {
        clearInterval(timer)
        // If Redis is away, it expires by itself.
        await leave(id, serverId).catch(() => undefined)
      }
      try {
        await new Promise<void>((resolve, reject) => {
          giveUp = () => { reject(new Error('left the queue', { cause: signal.reason })) }
          signal.addEventListener('abort', giveUp, { once: true })
          waiting.set(id, resolve)
          // This also detects a lost notice.
          const look = async () => { if (await ask(id, serverId) === 'granted') resolve() }
          timer = setInterval(() => { look().catch(() => { /* Redis is away; the next may be heard */ }) }, heartbeat)
          look().catch(reject)
        })
        return end
      } catch (error) {
        await end()
        throw error
      } finally {
        signal.removeEventListener('abort', giveUp)
        waiting.delete(id)
      }
    },
    close () { subscriber.off('message', hear) }
  }
}

export function createExclusiveCallQueue (redis: Redis, keys: Keys, serverId: string): ExclusiveCallQueue {
  const queue = queueKey(keys, serverId)

  async function remaining (id: string): Promise<number | null> {
    const left = await redis.pttl(callKey(keys, id))
    if (left < 0) return null
    // The clock was set back: Redis would keep the entry of a dead process for that much longer.
    if (left > lifetime) await redis.pexpire(callKey(keys, id), lifetime)
    return Math.min(left, lifetime)
  }

  return {
    async first () {
      for (;;) {
        const id = await redis.lindex(queue, 0)
        if (id === null) return null
        const state = await redis.get(callKey(keys, id))
        if (state !== null) {
          await remaining(id)
          return { id, granted: state === 'granted' }
        }
        await redis.lrem(queue, 0, id)
      }
    },
    async grant (id) {
      if (await redis.set(callKey(keys, id), 'granted', 'KEEPTTL', 'XX') === null) return false
      await redis.publish(keys.channel('turns-granted'), id)
      return true
    },
    remaining
  }
}

/** Grants the send slot of one server to exclusive calls, while this process serves it. */
export interface ExclusiveCallGranter {
  /** A call was added or removed, or the server can be used again. */
  look (): void
  close (): void
}

export interface ExclusiveCallGranterDependencies {
  readonly calls: ExclusiveCallQueue
  readonly sendSlot: Semaphore
  /** Whether the server accepts requests now. */
  readonly open: () => boolean
  readonly log: Log
}

/** Pause after an error of Redis, in milliseconds. */
const pauseAfterTrouble = 1000

/**
 * Only one call waits for the send slot at a time, so calls and generations alternate, however many calls there are.
 * Resolves once a call that a former lease holder granted, and that can still be at the server, is first in line for
 * the slot: nothing can be sent before it.
 */
export async function grantExclusiveCalls (
  { calls, sendSlot, open, log }: ExclusiveCallGranterDependencies
): Promise<ExclusiveCallGranter> {
  const closing = new AbortController()
  const { ring, quiet } = createWakeUp(closing.signal)

  /** Resolves when the requesting process reports the end, or is gone. */
  async function over (id: string): Promise<void> {
    while (!closing.signal.aborted) {
      const left = await calls.remaining(id)
      if (left === null) return
      await quiet(left + 1)
    }
  }

  async function next (): Promise<void> {
    const first = open() ? await calls.first() : null
    if (first === null) return await quiet()
    const openGate = await sendSlot.enter(closing.signal)
    try {
      // Both the server and the requesting process can be gone meanwhile.
      if (open() && await calls.grant(first.id)) await over(first.id)
    } finally {
      openGate()
    }
  }

  async function goOnWith (id: string): Promise<void> {
    const openGate = await sendSlot.enter(closing.signal)
    await over(id).finally(openGate)
  }

  async function run (begun: Promise<void>): Promise<void> {
    let work = begun
    while (!closing.signal.aborted) {
      await work.catch(async error => {
        if (closing.signal.aborted) return
        log.debug({ err: error }, 'could not grant a call; trying again')
        await quiet(pauseAfterTrouble)
      })
      work = next()
    }
    await work.catch(() => { /* closed meanwhile */ })
  }

  const left = await calls.first()
  const begun = left?.granted === true ? goOnWith(left.id) : Promise.resolve()
  run(begun).catch(error => { log.error({ err: error }, 'exclusive calls are not granted any more') })

  return {
    look: ring,
    close () { closing.abort() }
  }
}
