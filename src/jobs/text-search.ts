import type { Redis } from 'ioredis'
import { LRUCache } from 'lru-cache'
import type { Keys } from '../lib/keys.ts'
import { readArrived, readSearchState, searchBlocks } from './scripts/index.ts'
import { sealSearch } from './search-text.ts'

/** The jobs among which to look, as keys of sorted sets by arrival. */
export interface SearchScope {
  readonly source: string
  /** They are in this one too. */
  readonly within?: string
  /** They are not in this one. */
  readonly without?: string
}

export interface SearchWords {
  /** In lower case; empty for any. */
  readonly text: string
  readonly application: string
  readonly user: string
}

/** Arrivals in microseconds since the epoch: from the lowest on, and before the highest. */
export interface ArrivalBounds {
  readonly lowest: number
  readonly highest: number
}

export interface SearchedPage {
  readonly order: 'newest' | 'oldest'
  /** The arrival at which the page before ended. */
  readonly after?: number
  readonly skip: number
  readonly take: number
}

export interface Arrived {
  readonly id: string
  /** Microseconds since the epoch. */
  readonly arrival: string
}

interface Block {
  /** The first arrival in it; it reaches to the next block. */
  first: number
  /** Ascending arrivals of the matching jobs, or only their number; null if it has changed since. */
  found: Float64Array | number | null
}

/**
 * The results of a search. Only blocks that have changed are looked through again. While a process of an earlier
 * version runs, which notes no changes, they can be old, for as long as they are kept.
 */
interface Kept {
  /** The counter of the changes up to which the blocks are known; empty before the first look. */
  changes: string
  readonly blocks: Map<string, Block>
  /** Resolves when nobody works on it. */
  busy: Promise<unknown>
}

/** What Redis knows of the blocks. */
interface State {
  /** The counter of their changes. */
  readonly changes: string
  /** How many there are. */
  readonly count: number
  /** Those that changed since the last look, with their first arrivals. */
  readonly changed: ReadonlyArray<readonly [name: string, first: number]>
  /** The ids of the arrivals that it was asked for, if nothing changed. */
  readonly ids: readonly string[]
}

/** Bytes that one script looks through: a few milliseconds, as all others wait meanwhile. */
const searchedAtOnce = 500_000
/** Blocks that one script gets; it seldom manages as many. */
const blocksAtOnce = 1000
/** Jobs whose ids one script reads. */
const readAtOnce = 500
/** Bytes of all kept results of a process, and for how long one is kept, in milliseconds. */
const [keptBytes, keptFor] = [8 * 1024 ** 2, 600_000]

/** Searches in several calls, so that none blocks Redis for long, and keeps the results for the next page. */
export function createTextSearch (redis: Redis, keys: Keys) {
  const prefix: [string] = [keys.key('')]
  const everyJob = keys.key('jobs', '*', '*', '*')
  const all = new LRUCache<string, Kept>({ maxSize: keptBytes, ttl: keptFor, sizeCalculation: sizeOf })
  let isSealing = false

  /** @returns null while the search text lacks jobs */
  async function readState (
    since: string, source = prefix[0], arrivals: readonly number[] = []
  ): Promise<State | null> {
    const state = await readSearchState(redis, [...prefix, source], [since, ...arrivals.map(String)])
    if (state[0] === 'incomplete') return null
    const [changes, count, changed, ids] = state as [string, number, string[], string[]]
    return { changes, count, changed: pairsOf(changed), ids }
  }

  /** Brings the blocks up to date. */
  async function refresh (kept: Kept, { changes, count, changed }: State): Promise<void> {
    for (const [name, first] of changed) kept.blocks.set(name, { first, found: null })
    if (kept.blocks.size !== count) {
      const firsts = new Map((await readState(''))?.changed)
      for (const name of kept.blocks.keys()) if (!firsts.has(name)) kept.blocks.delete(name)
      for (const [name, first] of firsts) if (!kept.blocks.has(name)) kept.blocks.set(name, { first, found: null })
    }
    kept.changes = changes
  }

  async function lookThrough (
    kept: Kept, names: readonly string[], what: 'arrivals' | 'count', { source, within, without }: SearchScope,
    { text, application, user }: SearchWords
  ): Promise<void> {
    let calls = 0
    for (let at = 0; at < names.length; calls++) {
      const asked = names.slice(at, at + blocksAtOnce)
      const answer = await searchBlocks(redis, [...prefix, source, within ?? source, without ?? prefix[0]],
        [text, application, user, what, searchedAtOnce, ...asked])
      for (const [index, found] of answer.entries()) {
        const block = kept.blocks.get(asked[index] ?? '')
        if (block !== undefined) block.found = what === 'count' ? Number(found) : arrivalsOf(found)
      }
      at += answer.length
    }
    if (calls > 1) sealSoon()
  }

  /** After a search that took several calls: full blocks become short. */
  function sealSoon (): void {
    if (isSealing) return
    isSealing = true
    sealSearch({ redis, keys }).catch(() => undefined).finally(() => { isSealing = false })
  }

  /**
   * Works with the blocks of the bounds, in their order, once it is known how many jobs of each match.
   * @param work gets a function that finds the arrivals of blocks which are only counted; and the ids of what it
   * expected, if nothing has changed
   * @param expect gets the blocks as they were known, for arrivals whose ids are read with the state
   * @returns null while the search text lacks jobs
   */
  async function withBlocks<Outcome> (
    scope: SearchScope, words: SearchWords, bounds: ArrivalBounds,
    work: (
      blocks: readonly Part[], resolve: (parts: readonly Part[]) => Promise<void>, ids: readonly string[]
    ) => Promise<Outcome>,
    expect: (blocks: readonly Part[]) => readonly number[] = () => []
  ): Promise<Outcome | null> {
    const name = JSON.stringify([scope, words])
    const kept = all.get(name) ?? { changes: '', blocks: new Map<string, Block>(), busy: Promise.resolve() }
    all.set(name, kept)
    const before = kept.busy
    let leave = () => {}
    kept.busy = new Promise<void>(resolve => { leave = resolve })
    await before
    try {
      const known = partsOf(kept, bounds)
      const expected = expect(known)
      const state = await readState(kept.changes, scope.source, expected.length > readAtOnce ? [] : expected)
      if (state === null) {
        all.delete(name)
        return null
      }
      const isSame = kept.changes === state.changes && kept.blocks.size === state.count
      if (!isSame) await refresh(kept, state)
      const parts = isSame ? known : partsOf(kept, bounds)
      const canCount = scope.source === everyJob && scope.within === undefined && scope.without === undefined
      const mustResolve = ({ block, isWhole }: Part) =>
        isWhole && canCount ? false : block.found === null || (!isWhole && typeof block.found === 'number')
      const resolve = async (some: readonly Part[]) => {
        const counted = some.filter(({ block }) => !(block.found instanceof Float64Array))
        await lookThrough(kept, counted.map(({ name }) => name), 'arrivals', scope, words)
      }
      await resolve(parts.filter(mustResolve))
      const uncounted = parts.filter(({ block }) => block.found === null)
      await lookThrough(kept, uncounted.map(({ name }) => name), 'count', scope, words)
      const outcome = await work(parts, resolve, isSame ? state.ids : [])
      // Its size has changed.
      all.set(name, kept)
      return outcome
    } finally {
      leave()
    }
  }

  async function idsOf (source: string, arrivals: readonly number[]): Promise<Arrived[]> {
    const found: Arrived[] = []
    for (let at = 0; at < arrivals.length; at += readAtOnce) {
      const some = arrivals.slice(at, at + readAtOnce)
      found.push(...arrivedOf(await readArrived(redis, [source], some.map(String)), some))
    }
    return found
  }

  return {
    /** A page, and how many match on all pages; null while the search text lacks jobs. */
    async page (
      scope: SearchScope, words: SearchWords, bounds: ArrivalBounds, page: SearchedPage
    ): Promise<{ found: Arrived[], total: number } | null> {
      const { order, after } = page
      const reached = after === undefined
        ? bounds
        : order === 'newest' ? { ...bounds, highest: Math.min(after, bounds.highest) } : { ...bounds, lowest: Math.max(after + 1, bounds.lowest) }
      return await withBlocks(scope, words, bounds, async (blocks, resolve, ids) => {
        const total = blocks.reduce((sum, part) => sum + countWithin(part, bounds), 0)
        const ahead = within(blocks, reached)
        await resolve(ahead.filter(isPartlyCounted))
        const { needed, skip } = blocksOf(ahead, reached, page)
        await resolve(needed)
        const arrivals = pageOf(needed, reached, { ...page, skip })
        const found = ids.length > 0 ? arrivedOf(ids, arrivals) : await idsOf(scope.source, arrivals)
        return { total, found }
      }, blocks => {
        const ahead = within(blocks, reached)
        if (blocks.some(({ block }) => block.found === null) || ahead.some(isPartlyCounted)) return []
        const { needed, skip } = blocksOf(ahead, reached, page)
        const isKnown = needed.every(({ block }) => block.found instanceof Float64Array)
        return isKnown ? pageOf(needed, reached, { ...page, skip }) : []
      })
    },
    /** Null while the search text lacks jobs. */
    async count (scope: SearchScope, words: SearchWords, bounds: ArrivalBounds): Promise<number | null> {
      return await withBlocks(scope, words, bounds, async blocks =>
        blocks.reduce((sum, part) => sum + countWithin(part, bounds), 0))
    },
    /** All ids, oldest first; null while the search text lacks jobs. */
    async ids (scope: SearchScope, words: SearchWords, bounds: ArrivalBounds): Promise<string[] | null> {
      const arrivals = await withBlocks(scope, words, bounds, async (blocks, resolve) => {
        await resolve(blocks)
        return blocks.flatMap(part => arrivalsWithin(part, bounds))
      })
      return arrivals === null ? null : (await idsOf(scope.source, arrivals)).map(({ id }) => id)
    }
  }
}

/** A block, as far as it is within bounds. */
interface Part {
  readonly name: string
  readonly block: Block
  readonly first: number
  /** Where the next block begins. */
  readonly until: number
  /** Whether all of it is. */
  readonly isWhole: boolean
}

/** Those that reach into the bounds. */
function within (parts: readonly Part[], { lowest, highest }: ArrivalBounds): Part[] {
  return parts.flatMap(part => {
    const { first, until } = part
    if (first >= highest || until <= lowest) return []
    return { ...part, isWhole: first >= lowest && until <= highest }
  })
}

/** Whether it is not known how many jobs match in the part of the block that is within bounds. */
function isPartlyCounted ({ isWhole, block: { found } }: Part): boolean {
  return !isWhole && found !== 0 && !(found instanceof Float64Array)
}

/** The blocks of a page in its order, and how many matching jobs in these to skip. */
function blocksOf (parts: readonly Part[], bounds: ArrivalBounds, { order, skip, take }: SearchedPage) {
  const needed: Part[] = []
  let [left, count] = [skip, 0]
  for (const part of order === 'newest' ? parts.toReversed() : parts) {
    const here = countWithin(part, bounds)
    if (needed.length === 0 && here <= left) left -= here
    else if (here > 0) {
      needed.push(part)
      count += here
    }
    if (count >= left + take) break
  }
  return { needed, skip: left }
}

/** The arrivals of a page from its blocks. */
function pageOf (needed: readonly Part[], bounds: ArrivalBounds, { order, skip, take }: SearchedPage): number[] {
  const arrivals = needed.flatMap(part => {
    const some = arrivalsWithin(part, bounds)
    return order === 'newest' ? some.toReversed() : some
  })
  return arrivals.slice(skip, skip + take)
}

/** Without those that are no longer there. */
function arrivedOf (ids: readonly string[], arrivals: readonly number[]): Arrived[] {
  return ids.flatMap((id, index) => id === '' ? [] : { id, arrival: String(arrivals[index]) })
}

/** Oldest first. */
function partsOf ({ blocks }: Kept, { lowest, highest }: ArrivalBounds): Part[] {
  const sorted = [...blocks].sort(([, one], [, other]) => one.first - other.first)
  return sorted.flatMap(([name, block], index) => {
    const { first } = block
    const until = sorted[index + 1]?.[1].first ?? Infinity
    if (first >= highest || until <= lowest) return []
    return { name, block, first, until, isWhole: first >= lowest && until <= highest }
  })
}

function countWithin ({ block: { found }, isWhole }: Part, bounds: ArrivalBounds): number {
  if (found === null || typeof found === 'number') return found ?? 0
  return isWhole ? found.length : found.filter(arrival => arrival >= bounds.lowest && arrival < bounds.highest).length
}

function arrivalsWithin ({ block: { found } }: Part, { lowest, highest }: ArrivalBounds): number[] {
  return found instanceof Float64Array ? [...found].filter(arrival => arrival >= lowest && arrival < highest) : []
}

function pairsOf (values: readonly string[]): Array<[name: string, first: number]> {
  const pairs: Array<[string, number]> = []
  for (let at = 0; at + 1 < values.length; at += 2) pairs.push([values[at] ?? '', Number(values[at + 1])])
  return pairs
}

/** Bytes, about. */
function sizeOf ({ blocks }: Kept): number {
  let size = 1000
  for (const { found } of blocks.values()) size += 200 + (found instanceof Float64Array ? found.byteLength : 0)
  return size
}

function arrivalsOf (text: string): Float64Array {
  return text === '' ? new Float64Array() : Float64Array.from(text.split(','), Number).sort()
}

export type TextSearch = ReturnType<typeof createTextSearch>
