import type { Redis } from 'ioredis'

/**
 * Caches records by public half, unknown ones included, and drops an entry when a process announces a change. While
 * announcements could be missed, Redis is asked first, and the cache serves only if it does not answer.
 */
export interface KeyCache<Entry> {
  readonly read: (key: string) => Promise<Entry | null>
  readonly forget: (key: string) => void
  readonly close: () => Promise<void>
}

interface KeyCacheOptions<Entry> {
  /** A connection for subscriptions; the client closes it. */
  readonly subscriber: Redis
  readonly channel: string
  readonly load: (key: string) => Promise<Entry | null>
  readonly now: () => number
  /** Longest life of an entry. */
  readonly seconds: number
}

/** Invented keys must not fill the memory. */
const maxEntries = 10_000

export async function createKeyCache<Entry> (options: KeyCacheOptions<Entry>): Promise<KeyCache<Entry>> {
  const { subscriber, channel, load, now, seconds } = options
  const entries = new Map<string, { entry: Entry | null, until: number }>()
  // Raised by every drop, so that a record that was being read meanwhile is not cached.
  let forgettings = 0

  function forget (key: string): void {
    forgettings++
    entries.delete(key)
  }
  function forgetAll (): void {
    forgettings++
    entries.clear()
  }
  function hear (from: string, key: string): void {
    if (from === channel) forget(key)
  }
  function remember (key: string, entry: Entry | null): void {
    const oldest = entries.keys().next()
    if (entries.size >= maxEntries && !oldest.done) entries.delete(oldest.value)
    entries.set(key, { entry, until: now() + seconds * 1000 })
  }

  async function reload (key: string): Promise<Entry | null> {
    const before = forgettings
    const entry = await load(key)
    if (before === forgettings && subscriber.status === 'ready') remember(key, entry)
    return entry
  }

  subscriber.on('message', hear)
  // Announcements can have been missed meanwhile.
  subscriber.on('ready', forgetAll)
  await subscriber.subscribe(channel)

  return {
    async read (key) {
      const entry = entries.get(key)
      const left = (entry?.until ?? 0) - now()
      // longer than its life only if the clock went back
      const known = entry !== undefined && left > 0 && left <= seconds * 1000 ? entry : null
      if (known !== null && subscriber.status === 'ready') return known.entry
      try {
        return await reload(key)
      } catch (error) {
        if (known !== null) return known.entry
        throw error
      }
    },
    forget,
    async close () {
      subscriber.off('message', hear)
      subscriber.off('ready', forgetAll)
      // A connection that is going away takes the subscription with it.
      if (subscriber.status === 'ready') await subscriber.unsubscribe(channel).catch(() => {})
    }
  }
}
