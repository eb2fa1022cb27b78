import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { enterSearchText, sealBlock } from './scripts/index.ts'

/** Jobs that one script enters into the search text, and milliseconds until the next: a tenth of Redis' time. */
const [filledAtOnce, fillPause] = [50, 20]

/** Characters of the list of all words, which each search looks through first. */
const mostWords = 2_000_000

/**
 * Enters the jobs of an earlier version into the search text, a few at a time, so that other work goes on; until then
 * searches read the records.
 * @throws Error if it ends before all are entered; the next call continues
 */
export async function fillSearch ({ redis, keys }: { redis: Redis, keys: Keys }, closing: AbortSignal): Promise<void> {
  while (await enterSearchText(redis, [keys.key('')], [filledAtOnce]) === 1) {
    await sleep(fillPause, undefined, { signal: closing })
  }
}

/**
 * Shortens the full blocks of the search text and lists their words. Blocks that are not sealed yet are searched as
 * well, only not as fast.
 * @throws Error if it ends before all are sealed; the next call continues
 */
export async function sealSearch (
  { redis, keys }: { redis: Redis, keys: Keys }, closing?: AbortSignal
): Promise<void> {
  const [, open] = (await redis.get(keys.key('search-last')) ?? '').split(':')
  const all = await redis.get(keys.key('search-words')) ?? ''
  const known = new Set(all.split(' '))
  let size = all.startsWith('*') ? Infinity : all.length
  for (const block of await redis.zrange(keys.key('search'), '0', '-1')) {
    if (block === open || await redis.exists(keys.key('search', block, 'words')) === 1) continue
    const before = await redis.get(keys.key('search', block)) ?? ''
    const { text, lists, words } = shortenBlock(before)
    const fresh = [...words].filter(word => !known.has(word)).map(word => `${word} `).join('')
    const added = size + fresh.length > mostWords ? '*' : fresh
    if (await sealBlock(redis, [keys.key('')], [block, before, text, lists, added]) === 1) {
      size = added === '*' ? Infinity : size + added.length
      for (const word of words) known.add(word)
    }
    await sleep(fillPause, undefined, closing === undefined ? {} : { signal: closing })
  }
}

/** One entry for all jobs with equal prompts, application and user. */
function shortenBlock (text: string): { text: string, lists: string, words: ReadonlySet<string> } {
  const entries = new Map<string, string>()
  const facets = new Set<string>()
  const words = new Set<string>()
  for (const entry of text.split('\x03').slice(1)) {
    const [head = '', ids = ''] = entry.split('\x02,')
    const known = entries.get(head)
    entries.set(head, (known ?? '') + ids)
    if (known !== undefined) continue
    const [prompt = '', facet = ''] = head.split('\0')
    facets.add(`\x01${facet.replace('\x01', '\x02')}\x03`)
    for (const word of prompt.split(betweenWords)) words.add(word)
  }
  const short = [...entries].map(([head, ids]) => `\x03${head}\x02,${ids}`).join('')
  const listed = (all: ReadonlySet<string>, between: string) => {
    const list = [...all].join(between)
    return list.length * 3 < short.length ? list : '*'
  }
  return { text: short, lists: `${listed(facets, '')}\0${listed(words, ' ')}`, words }
}

/** The same signs as `[%s%p]` in Lua: white space and punctuation of ASCII. */
const betweenWords = /[\t-\r !-/:-@[-`{-~]+/
