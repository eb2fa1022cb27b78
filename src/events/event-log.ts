import type { Redis } from 'ioredis'
import type { Keys } from '../redis/keys.ts'
import { parseEntry, type StoredEvent } from './event.ts'

/** A part of what is kept. */
export interface EventPage {
  /** Whether events were missed that are not kept any more; then there are none here. */
  readonly gap: boolean
  /** Id of the newest event there is. */
  readonly head: string
  readonly events: readonly StoredEvent[]
  /** Where to go on reading; `head` where nothing follows. */
  readonly next: string
}

/** Reads the stream of events. */
export interface EventLog {
  /** What follows an id, oldest first, in pages. From `0` on there is no gap, whatever came before. */
  after (id: string): Promise<EventPage>
  head (): Promise<string>
}

/** Entries a page. */
const pageSize = 500

/**
 * ARGV: id to go on after, entries at most. An id that is neither kept nor lies between ids that are kept tells of
 * events that were lost, or of another stream. So that the beginning has an id too, an empty stream gets an entry.
 */
const readAfter = /* lua */ `
local stream, after, count = KEYS[1] .. 'events', ARGV[1], tonumber(ARGV[2])
local function parts (id)
  local moment, number = string.match(id, '^(%d+)-?(%d*)$')
  return tonumber(moment), tonumber(number) or 0
end
local function isBefore (one, other)
  local moment, number = parts(one)
  local otherMoment, otherNumber = parts(other)
  return moment < otherMoment or moment == otherMoment and number < otherNumber
end
local newest = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
local head = newest and newest[1] or redis.call('XADD', stream, '*', 'kind', 'begun')
if count == 0 then return { 0, head, {} } end
local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1][1]
if after ~= '0' and (isBefore(after, oldest) or isBefore(head, after)) then return { 1, head, {} } end
return { 0, head, redis.call('XRANGE', stream, '(' .. after, '+', 'COUNT', count) }
`

export function createEventLog (redis: Redis, keys: Keys): EventLog {
  redis.defineCommand('readEventsAfter', { numberOfKeys: 1, lua: readAfter })

  async function read (after: string, count: number): Promise<EventPage> {
    const command = Reflect.get(redis, 'readEventsAfter') as (...values: unknown[]) => Promise<
      [number, string, Array<[string, string[]]>]>
    const [gap, head, entries] = await command.call(redis, keys.key(''), after, count)
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
