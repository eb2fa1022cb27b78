import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { type CostModel, loadedAfter, parseCosts, predictSeconds, type Workload } from '../servers/cost-model.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { Job, JobProgress } from './job.ts'
import { type JobFacts, readQueue } from './scripts/index.ts'
import { unpackWorkload } from './workload.ts'

/** When a job is expected to begin and to end, in seconds from now. */
export interface JobEstimate {
  /** 0 for one that runs. */
  readonly startsIn: number
  readonly endsIn: number
}

export interface PlacedJob {
  readonly job: Pick<Job, 'id' | 'serverId' | 'status'>
  /** Its place in line, from 1; null unless it waits. */
  readonly position: number | null
}

/** What a server has before it. */
export interface QueueEstimate {
  readonly waiting: number
  readonly running: number
  /**
   * Seconds until the server has done all of it, if nothing comes in between; null while nothing is known of its
   * speed. Does not ask whether the line is held.
   */
  readonly seconds: number | null
}

export interface Estimates {
  /** In the order given; null where nothing can be said: it has ended, its line is held, or nothing is known. */
  of (jobs: readonly PlacedJob[]): Promise<Array<JobEstimate | null>>
  /** Predicted seconds of work in a server's line and at the server. */
  line (serverId: string): Promise<QueueEstimate>
  /** The first jobs of a line, in order, with what is expected of them. */
  places (serverId: string, count: number): Promise<PositionEstimate[]>
}

export interface PositionEstimate {
  readonly jobId: string
  readonly keyId: string | null
  /** From 1. */
  readonly position: number
  readonly estimate: JobEstimate | null
}

export interface EstimatesDependencies {
  readonly redis: Redis
  readonly keys: Keys
  readonly registry: Pick<ServerRegistry, 'byId'>
  readonly states: Pick<ServerStateStore, 'readMany'>
  /** Whether servers take jobs at all. */
  readonly processes: () => boolean
  readonly now?: () => number
}

/** Places that are added up one by one; the rest is taken for the mean of those. */
const placesSummed = 1000
/** Shares of a generation from which on its own progress has something to say. */
const tellingFraction = 0.1

/** A line, added up. All in seconds from now. */
interface SummedQueue {
  readonly model: CostModel
  readonly length: number
  /** Until what runs is done, by the id of the job. */
  readonly running: ReadonlyMap<string, number>
  readonly waiting: ReadonlyMap<string, {
    readonly place: number, readonly keyId: string | null, readonly estimate: JobEstimate
  }>
  /** What a place beyond those that were added up takes. */
  readonly mean: number
  /** When the last place that was added up is done. */
  readonly end: number
}

/** What is expected of a job, with the server's own guess where it made one: there is one end, however it is told. */
export function expectationOf (
  { status, progress }: Pick<Job, 'status' | 'progress'>, estimate: JobEstimate | null
): JobEstimate | null {
  const own = status === 'processing' ? progress?.etaSeconds ?? null : null
  return own === null ? estimate : { startsIn: 0, endsIn: own }
}

/** Says when jobs will begin and end, from what their servers took for others. */
export function createEstimates (dependencies: EstimatesDependencies): Estimates {
  const { redis, keys, registry, states, processes, now = Date.now } = dependencies

  async function sum (serverId: string, places: number): Promise<SummedQueue> {
    const [costs, length, running, waiting] = await readQueue(redis, [keys.key('')], [serverId, places])
    const model = parseCosts(costs)
    const timestamp = now()
    const left = new Map(running.map(facts => [facts[0], secondsLeft(model, facts, timestamp)]))
    let loaded = running.reduce((before, [, , cost]) => after(before, unpackWorkload(cost)), model.loaded)
    let clock = Math.max(0, ...left.values())
    const begin = clock
    const summed = new Map(waiting.map(([id, key, cost], index) => {
      const workload = unpackWorkload(cost)
      const startsIn = clock
      clock += predictSeconds(model, workload, loaded) ?? 0
      loaded = after(loaded, workload)
      return [id, { place: index, keyId: key === '' ? null : key, estimate: { startsIn, endsIn: clock } }]
    }))
    const mean = waiting.length === 0 ? 0 : (clock - begin) / waiting.length
    return { model, length, running: left, waiting: summed, mean, end: clock }
  }

  /** Those whose lines move. */
  async function goingOn (serverIds: readonly string[]): Promise<Set<string>> {
    if (!processes()) return new Set()
    const known = await states.readMany(serverIds)
    return new Set(serverIds.filter((id, index) => {
      const server = registry.byId(id)
      return server?.enabled === true && !server.paused && known[index]?.reachable === 'yes'
    }))
  }

  function estimateOf ({ job, position }: PlacedJob, line: SummedQueue | undefined): JobEstimate | null {
    if (line === undefined || line.model.samples === 0) return null
    const endsIn = line.running.get(job.id)
    if (endsIn !== undefined) return { startsIn: 0, endsIn }
    const known = line.waiting.get(job.id)
    if (known !== undefined || position === null) return known?.estimate ?? null
    const startsIn = line.end + (position - 1 - line.waiting.size) * line.mean
    return { startsIn, endsIn: startsIn + line.mean }
  }

  return {
    async of (jobs) {
      const active = jobs.filter(({ job: { status } }) => status === 'pending' || status === 'processing')
      const serverIds = await goingOn([...new Set(active.map(({ job }) => job.serverId))])
      const lines = new Map(await Promise.all([...serverIds].map(async id => {
        const last = Math.max(0, ...active.map(({ job, position }) => job.serverId === id ? position ?? 0 : 0))
        return [id, await sum(id, Math.min(last, placesSummed))] as const
      })))
      return jobs.map(placed => estimateOf(placed, lines.get(placed.job.serverId)))
    },
    async line (serverId) {
      const line = await sum(serverId, placesSummed)
      const rest = Math.max(0, line.length - line.waiting.size) * line.mean
      return {
        waiting: line.length,
        running: line.running.size,
        seconds: line.model.samples === 0 ? null : line.end + rest
      }
    },
    async places (serverId, count) {
      const [line, moving] = await Promise.all([sum(serverId, count), goingOn([serverId])])
      const isKnown = line.model.samples > 0 && moving.has(serverId)
      return [...line.waiting].map(([jobId, { keyId, place, estimate }]) =>
        ({ jobId, keyId, position: place + 1, estimate: isKnown ? estimate : null }))
    }
  }
}

function after (loaded: string, workload: Workload | null): string {
  return workload === null ? loaded : loadedAfter(loaded, workload)
}

/** What a running generation still takes: by what it was expected to take, and the further it is by its progress. */
function secondsLeft (model: CostModel, [, , cost, started, progress]: JobFacts, timestamp: number): number {
  const workload = unpackWorkload(cost)
  const whole = predictSeconds(model, workload, model.loaded)
  const gone = started === '' ? 0 : Math.max(0, (timestamp - Number(started)) / 1000)
  const { fraction, etaSeconds = null }: Pick<JobProgress, 'fraction'> & Partial<JobProgress> =
    progress === '' ? { fraction: 0 } : JSON.parse(progress) as JobProgress
  // The server's own guess is what the job shows, and a second one would contradict it.
  if (etaSeconds !== null) return etaSeconds
  const byProgress = fraction > tellingFraction ? gone * (1 - fraction) / fraction : null
  if (whole === null) return byProgress ?? 0
  // Who is late is expected to be done soon, but not at once.
  const byCost = Math.max(whole - gone, whole * 0.02)
  return byProgress === null ? byCost : (1 - fraction) * byCost + fraction * byProgress
}
