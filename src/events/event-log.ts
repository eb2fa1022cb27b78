import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { loadScript } from '../redis/scripts.ts'
import { parseEntry, type StoredEvent } from './event.ts'

/** A part of the stored events. */
export interface EventPage {
  /** Whether events were missed that are not stored any more; then there are none here. */
  readonly gap: boolean
  /** Id of the newest event. */
  readonly head: string
  readonly events: readonly StoredEvent[]
  /** Where to continue; `head` if nothing follows. */
  readonly next: string
}

/** Reads the stream of events. */
export interface EventLog {
  /** Events after an id, oldest first, in pages. From `0` on there is no gap, whatever came before. */
  after (id: string): Promise<EventPage>
  head (): Promise<string>
}

/** Entries a page. */
const pageSize = 500

const readEvents = loadScript<[prefix: string], [after: string, count: number],
  [gap: 0 | 1, head: string, entries: Array<[id: string, values: string[]]>]>(
  new URL('scripts/read-events.lua', import.meta.url))

export function createEventLog (redis: Redis, keys: Keys): EventLog {
  async function read (after: string, count: number): Promise<EventPage> {
    const [gap, head, entries] = await readEvents(redis, [keys.key('')], [after, count])
    return {
      gap: gap === 1,
      head,
      events: entries.flatMap(([id, values]) => parseEntry(id, values) ?? []),
      next: entries.length < count ? head : entries.at(-1)?.[0] ?? head
    }
  }

  return {
    after: async id => await read(id, pageSize),
    head: async () => (await read('0', 0)).head
  }
}
