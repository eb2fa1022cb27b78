import type { Pieces } from '../lib/breaks.ts'
import { type CostModel, predictSeconds, type Workload } from '../servers/cost-model.ts'
import {
  arrive, checkpointOn, choose, claim, createPool, enter, flowOf, type Patience, type Pool, shareOf, type WaitingJob
} from './claim-rule.ts'

/** When a job is expected to begin and to finish, in seconds from now. */
export interface JobEstimate {
  /** 0 for a running job. */
  readonly startsIn: number
  readonly endsIn: number
  /** The end that nine of ten jobs do not exceed. */
  readonly endsInP90: number
}

export interface Prediction extends JobEstimate {
  readonly serverId: string
  /** The standard deviation of its end, in seconds, by that of generations and by the number that will arrive. */
  readonly deviation: number
  /** Rank among the waiting jobs by their expected begin, from 1. */
  readonly position: number
}

export interface ForecastJob extends WaitingJob {
  readonly workload: Workload | null
}

/** A server that takes jobs now. */
export interface ForecastServer {
  readonly id: string
  readonly model: CostModel
  /** Seconds until its running generations are done, and the checkpoint that they leave loaded. */
  readonly free: number
  readonly loaded: string
  /** The checkpoint for jobs that name none; empty if unknown. */
  readonly own: string
  readonly loadSeconds: number
  canRun (job: WaitingJob): boolean
  /** The jobs that it claimed and has not begun, in their order. */
  readonly claimed: readonly ForecastJob[]
}

export interface PoolSnapshot {
  /** The virtual times of the pool and of its background lane. */
  readonly now: number
  readonly laneNow: number
  readonly shares: ReadonlyArray<{
    readonly name: string
    readonly weight: number
    readonly tag: number
    /** The order that it has reached, and those of servers by id. */
    readonly now: number
    readonly reached: ReadonlyMap<string, number>
  }>
  /** The first jobs of the pool in the fair order, and the number of all. The forecast changes the former. */
  readonly jobs: readonly ForecastJob[]
  /** A job that would arrive now. */
  readonly preview: ForecastJob | null
  readonly newcomers: Newcomers
  readonly waiting: number
  readonly servers: readonly ForecastServer[]
  readonly patience: Patience
  /** By how many deviations, at the most, nine of ten jobs were later than predicted lately. */
  readonly lateness: number
}

/** Jobs that are expected to arrive: one after each interval, in turn. */
export interface Newcomers {
  readonly jobs: readonly ForecastJob[]
  readonly count: number
  /** Seconds between two of them. */
  readonly interval: number
}

export const noNewcomers: Newcomers = { jobs: [], count: 0, interval: Infinity }

export interface Forecast {
  /** Of the waiting jobs that some server will run, claimed ones included, in the order of their expected begin. */
  readonly jobs: ReadonlyMap<string, Prediction>
  /**
   * Of a job that was not read, such as one behind all that were, by its rank in the pool, from 1; null if none of
   * those begins.
   */
  beyond (rank: number): Omit<Prediction, 'serverId'> | null
}

/** 90 % of a normal distribution lie below its mean and this many deviations. */
const ninety = 1.28
/** Deviation of a generation from its predicted time, as a share of it, while a server has few samples; the least. */
const deviation = { unknown: 0.3, least: 0.02 }
const fewSamples = 5
/** What a claim, its preparation and the disk can add to a generation, in seconds. */
const leastSeconds = 0.05
/** What the order of claims adds to the deviation of an end, as a share of the wait: small delays change it. */
const doubtOfOrder = 0.15
/** Of the time of a server that newcomers leave, for the deviation. */
const leastShare = 0.1
/** Claims between two chances for other work. */
const claimsAtOnce = 100

interface BusyServer {
  readonly server: ForecastServer
  readonly deviation: number
  free: number
  /** Of `free`. */
  variance: number
  /** Seconds of `free` that jobs take which are only expected. */
  expected: number
  loaded: string
}

/** Runs the rule of claims forward over all servers, while jobs arrive as expected. */
export function * runForward (snapshot: PoolSnapshot): Pieces<Forecast> {
  const pool = poolOf(snapshot)
  const busy = snapshot.servers.map((server): BusyServer => {
    const { free, loaded, model } = server
    return { server, deviation: deviationOf(model), free, variance: 0, expected: 0, loaded }
  })
  const found: Array<Omit<Prediction, 'position'> & { readonly id: string }> = []
  const expected = new Set<WaitingJob>()
  const { newcomers } = snapshot
  const arrivalOf = (index: number) => index < newcomers.count ? (index + 0.5) * newcomers.interval : Infinity
  let arrived = 0
  let left = snapshot.jobs.length + (snapshot.preview === null ? 0 : 1)

  function run (one: BusyServer, job: ForecastJob): void {
    const { server: { id: serverId, model }, loaded, free: startsIn } = one
    const checkpoint = checkpointOn(job, { own: one.server.own, loaded })
    const workload = job.workload === null ? null : { ...job.workload, checkpoint }
    const seconds = predictSeconds(model, workload, loaded) ?? job.ms / 1000
    one.free += seconds
    one.variance += Math.max(one.deviation * seconds, leastSeconds) ** 2
    one.loaded = checkpoint
    if (expected.has(job)) {
      one.expected += seconds
      return
    }
    const deviation = Math.sqrt(one.variance + doubtOfNewcomers(one) ** 2 + (doubtOfOrder * startsIn) ** 2)
    const endsInP90 = one.free + snapshot.lateness * deviation
    found.push({ id: job.id, serverId, startsIn, endsIn: one.free, endsInP90, deviation })
  }

  /** The deviation, in seconds, by the number that arrives. */
  function doubtOfNewcomers ({ expected, free }: BusyServer): number {
    if (arrived === 0) return 0
    // As many arrive as in a random stream, whose rate comes from those that were seen.
    const doubt = expected * Math.sqrt(1 / arrived + 1 / newcomers.jobs.length)
    // The longer it waits because of them, the more arrive meanwhile.
    return doubt / Math.max(leastShare, 1 - expected / free)
  }

  for (const one of busy) {
    for (const job of one.server.claimed) run(one, job)
  }
  const held = new Map<string, number>()
  for (const { loaded } of busy) count(held, loaded, 1)
  const open = [...busy]
  for (let claims = 1; open.length > 0 && left > 0; claims++) {
    if (claims % claimsAtOnce === 0) yield
    const at = indexOfFirst(open)
    const one = open[at] as BusyServer
    for (; arrivalOf(arrived) <= one.free; arrived++) {
      const like = newcomers.jobs[arrived % newcomers.jobs.length] as ForecastJob
      const job = { ...like, id: `expected ${arrived}`, skips: 0 }
      expected.add(job)
      arrive(pool, job)
    }
    const { server, loaded } = one
    const { id, own, loadSeconds } = server
    count(held, loaded, -1)
    const canRun = (job: WaitingJob) => server.canRun(job)
    const choice = choose(pool, { id, canRun, loaded, own, loadSeconds, held }, snapshot.patience)
    if (choice === null) {
      count(held, loaded, 1)
      const next = arrivalOf(arrived)
      if (next < Infinity) one.free = next
      else open.splice(at, 1)
      continue
    }
    claim(pool, choice)
    if (!expected.has(choice.job)) left--
    run(one, choice.job as ForecastJob)
    count(held, one.loaded, 1)
  }
  return rank(found, snapshot)
}

function rank (
  found: ReadonlyArray<Omit<Prediction, 'position'> & { readonly id: string }>, { jobs: read }: PoolSnapshot
): Forecast {
  const sorted = found.toSorted((one, other) => one.startsIn - other.startsIn)
  const last = sorted.at(-1)
  return {
    jobs: new Map(sorted.map(({ id, ...prediction }, index) => [id, { ...prediction, position: index + 1 }])),
    beyond (rankInPool) {
      if (last === undefined) return null
      const same = sorted[rankInPool - 1]
      if (same !== undefined) return { ...same, position: rankInPool }
      const more = Math.max(1, rankInPool - read.length)
      const each = last.endsIn / sorted.length
      const [startsIn, endsIn] = [last.endsIn + (more - 1) * each, last.endsIn + more * each]
      const scale = endsIn / last.endsIn
      const [endsInP90, deviation] = [scale * last.endsInP90, scale * last.deviation]
      return { startsIn, endsIn, endsInP90, deviation, position: sorted.length + more }
    }
  }
}

function poolOf ({ now, laneNow, shares, jobs, preview, servers }: PoolSnapshot): Pool {
  const pool = createPool()
  pool.now = now
  pool.background.now = laneNow
  for (const { name, reached, ...facts } of shares) {
    const share = Object.assign(shareOf(pool, name), facts)
    for (const server of servers) {
      const order = reached.get(server.id)
      if (order !== undefined) share.reached.set(server.id, { id: server.id, order, canRun: job => server.canRun(job) })
    }
  }
  for (const job of jobs) {
    enter(pool, job)
    const { flows } = shareOf(pool, job.share)
    flows.set(flowOf(job), Math.max(flows.get(flowOf(job)) ?? 0, job.order))
  }
  if (preview !== null) arrive(pool, preview)
  return pool
}

function indexOfFirst (servers: readonly BusyServer[]): number {
  let first = 0
  for (let index = 1; index < servers.length; index++) {
    if ((servers[index] as BusyServer).free < (servers[first] as BusyServer).free) first = index
  }
  return first
}

function count (held: Map<string, number>, checkpoint: string, change: number): void {
  if (checkpoint !== '') held.set(checkpoint, (held.get(checkpoint) ?? 0) + change)
}

/** The end of a running generation that is expected to take so many more seconds. */
export function runningFor (model: CostModel, seconds: number): JobEstimate {
  return { startsIn: 0, endsIn: seconds, endsInP90: seconds * (1 + ninety * deviationOf(model)) }
}

/** How far the last generations were from their predicted times, relative to these. */
function deviationOf (model: CostModel): number {
  if (model.recent.length < fewSamples) return deviation.unknown
  const errors = model.recent.map(({ workload, loaded, seconds }) => {
    const predicted = predictSeconds(model, workload, loaded) ?? seconds
    return Math.abs(seconds - predicted) / predicted
  }).sort((one, other) => one - other)
  // The median of absolute errors, made a standard deviation; single outliers do not count.
  return Math.max(deviation.least, 1.48 * (errors[Math.floor(errors.length / 2)] ?? deviation.unknown))
}

/** Waits that are remembered of each kind. */
const rememberedWaits = 200
/**
 * What is assumed before, in deviations: those of a normal distribution; more where newcomers are expected, as the
 * order of claims depends on their checkpoints.
 */
const assumedWaits = {
  quiet: [-1.5, -1, -0.6, -0.3, 0, 0.2, 0.4, 0.8, ninety, 1.7],
  newcomers: [-1.5, -1, -0.5, 0, 0.4, 0.8, 1.2, 2, 3.5, 5]
}
/** A little more than nine of ten, because the longest waits are known last. */
const shareOfWaits = 0.93
/** Shorter predictions, in seconds, say nothing of the order. */
const leastWait = 1

/** Whether a prediction expected jobs to arrive. */
export type Expectation = keyof typeof assumedWaits

/** Learns how much longer jobs wait than predicted. */
export interface Lateness {
  /** The deviations that nine of ten jobs did not exceed, at least 0. */
  deviations (expectation: Expectation): number
  /** @param waited seconds, as `predicted` */
  note (expectation: Expectation, predicted: Pick<Prediction, 'startsIn' | 'deviation'>, waited: number): void
}

export function createLateness (): Lateness {
  const known: Record<Expectation, readonly number[]> = { ...assumedWaits }
  return {
    deviations (expectation) {
      const sorted = known[expectation].toSorted((one, other) => one - other)
      return Math.max(0, sorted[Math.ceil(sorted.length * shareOfWaits) - 1] ?? 0)
    },
    note (expectation, { startsIn, deviation }, waited) {
      if (startsIn < leastWait || deviation === 0) return
      known[expectation] = [...known[expectation], (waited - startsIn) / deviation].slice(-rememberedWaits)
    }
  }
}
