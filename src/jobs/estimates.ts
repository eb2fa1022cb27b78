import type { Redis } from 'ioredis'
import type { Keys } from '../lib/keys.ts'
import { type CostModel, loadedAfter, parseCosts, predictSeconds, type Workload } from '../servers/cost-model.ts'
import type { ServerRegistry } from '../servers/registry.ts'
import type { ServerStateStore } from '../servers/state-store.ts'
import type { Job, JobProgress } from './job.ts'
import { type JobFacts, readQueue } from './scripts/index.ts'
import { unpackWorkload } from './workload.ts'

/** When a job is expected to begin and to finish, in seconds from now. */
export interface JobEstimate {
  /** 0 for a running job. */
  readonly startsIn: number
  readonly endsIn: number
}

export interface PlacedJob {
  readonly job: Pick<Job, 'id' | 'serverId' | 'status'>
  /** Its position in the queue, from 1; null unless it waits. */
  readonly position: number | null
}

/** The work that a server has ahead of it. */
export interface QueueEstimate {
  readonly waiting: number
  readonly running: number
  /**
   * Seconds until the server has done all of it, if nothing else arrives; null while its speed is unknown. Ignores
   * whether the queue is paused.
   */
  readonly seconds: number | null
}

export interface Estimates {
  /**
   * In the order given; null for a job that cannot be estimated: it has finished, its queue is paused, or the speed is
   * unknown.
   */
  of (jobs: readonly PlacedJob[]): Promise<Array<JobEstimate | null>>
  /** Predicted seconds of work in a server's queue and at the server. */
  queue (serverId: string): Promise<QueueEstimate>
  /** The first jobs of a queue, in order, with their estimates. */
  positions (serverId: string, count: number): Promise<PositionEstimate[]>
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

/** Positions that are added up one by one; each further one counts as their mean. */
const summedPositions = 1000
/** The share of a generation after which its own progress is meaningful. */
const meaningfulFraction = 0.1

/** The sums of a queue. All in seconds from now. */
interface SummedQueue {
  readonly model: CostModel
  readonly length: number
  /** Time until each running job is done, by job id. */
  readonly running: ReadonlyMap<string, number>
  readonly waiting: ReadonlyMap<string, {
    readonly index: number, readonly keyId: string | null, readonly estimate: JobEstimate
  }>
  /** Time that each position beyond the added ones takes. */
  readonly mean: number
  /** When the last added position is done. */
  readonly end: number
}

/** The estimate of a job, with the server's own guess if it made one, so that all interfaces report the same end. */
export function expectationOf (
  { status, progress }: Pick<Job, 'status' | 'progress'>, estimate: JobEstimate | null
): JobEstimate | null {
  const own = status === 'processing' ? progress?.etaSeconds ?? null : null
  return own === null ? estimate : { startsIn: 0, endsIn: own }
}

/** Predicts when jobs will begin and finish, from the time that their servers took for others. */
export function createEstimates (dependencies: EstimatesDependencies): Estimates {
  const { redis, keys, registry, states, processes, now = Date.now } = dependencies

  async function sum (serverId: string, count: number): Promise<SummedQueue> {
    const [costs, length, running, waiting] = await readQueue(redis, [keys.key('')], [serverId, count])
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
      return [id, { index, keyId: key === '' ? null : key, estimate: { startsIn, endsIn: clock } }]
    }))
    const mean = waiting.length === 0 ? 0 : (clock - begin) / waiting.length
    return { model, length, running: left, waiting: summed, mean, end: clock }
  }

  /** The servers whose queues move. */
  async function goingOn (serverIds: readonly string[]): Promise<Set<string>> {
    if (!processes()) return new Set()
    const known = await states.readMany(serverIds)
    return new Set(serverIds.filter((id, index) => {
      const server = registry.byId(id)
      return server?.enabled === true && !server.paused && !server.draining && known[index]?.reachable === 'yes'
    }))
  }

  function estimateOf ({ job, position }: PlacedJob, queue: SummedQueue | undefined): JobEstimate | null {
    if (queue === undefined || queue.model.samples === 0) return null
    const endsIn = queue.running.get(job.id)
    if (endsIn !== undefined) return { startsIn: 0, endsIn }
    const known = queue.waiting.get(job.id)
    if (known !== undefined || position === null) return known?.estimate ?? null
    const startsIn = queue.end + (position - 1 - queue.waiting.size) * queue.mean
    return { startsIn, endsIn: startsIn + queue.mean }
  }

  return {
    async of (jobs) {
      const active = jobs.filter(({ job: { status } }) => status === 'pending' || status === 'processing')
      const serverIds = await goingOn([...new Set(active.map(({ job }) => job.serverId))])
      const lines = new Map(await Promise.all([...serverIds].map(async id => {
        const last = Math.max(0, ...active.map(({ job, position }) => job.serverId === id ? position ?? 0 : 0))
        return [id, await sum(id, Math.min(last, summedPositions))] as const
      })))
      return jobs.map(placed => estimateOf(placed, lines.get(placed.job.serverId)))
    },
    async queue (serverId) {
      const queue = await sum(serverId, summedPositions)
      const rest = Math.max(0, queue.length - queue.waiting.size) * queue.mean
      return {
        waiting: queue.length,
        running: queue.running.size,
        seconds: queue.model.samples === 0 ? null : queue.end + rest
      }
    },
    async positions (serverId, count) {
      const [queue, moving] = await Promise.all([sum(serverId, count), goingOn([serverId])])
      const isKnown = queue.model.samples > 0 && moving.has(serverId)
      return [...queue.waiting].map(([jobId, { keyId, index, estimate }]) =>
        ({ jobId, keyId, position: index + 1, estimate: isKnown ? estimate : null }))
    }
  }
}

function after (loaded: string, workload: Workload | null): string {
  return workload === null ? loaded : loadedAfter(loaded, workload)
}

/**
 * The time that a running generation still takes: first by its estimate, and the further it is, the more by its
 * progress.
 */
function secondsLeft (model: CostModel, [, , cost, started, progress]: JobFacts, timestamp: number): number {
  const workload = unpackWorkload(cost)
  const whole = predictSeconds(model, workload, model.loaded)
  const gone = started === '' ? 0 : Math.max(0, (timestamp - Number(started)) / 1000)
  const { fraction, etaSeconds = null }: Pick<JobProgress, 'fraction'> & Partial<JobProgress> =
    progress === '' ? { fraction: 0 } : JSON.parse(progress) as JobProgress
  // The job shows the server's own guess; a second one would contradict it.
  if (etaSeconds !== null) return etaSeconds
  const byProgress = fraction > meaningfulFraction ? gone * (1 - fraction) / fraction : null
  if (whole === null) return byProgress ?? 0
  // A late generation is expected to finish soon, but not at once.
  const byCost = Math.max(whole - gone, whole * 0.02)
  return byProgress === null ? byCost : (1 - fraction) * byCost + fraction * byProgress
}
