import type { FleetGeneration, FleetServer } from '../../environment/fleet-process.ts'

/**
 * What a fleet did, replayed with pure generation and load times: the order and the server of each job are the
 * service's own choice, while the noise of the machine and the pauses between two jobs do not count.
 */

/** A job as it arrived; lists of them are in the order of arrival. */
export interface TraceJob {
  readonly id: string
  readonly checkpoint: string
  /** Milliseconds of its generation at speed 1. */
  readonly work: number
  /** Access key that pays for it. */
  readonly share: string
  /** Milliseconds after the begin of the trace; 0 unless it is given. */
  readonly arrives?: number
}

export interface FleetShape {
  readonly servers: readonly FleetServer[]
  /** Milliseconds of a load. */
  readonly load: number
}

/** A job at its server, in the order of the begins. */
export type Placed = Pick<FleetGeneration, 'jobId' | 'server'>

/** Milliseconds after the begin of the trace. */
export interface ReplayedJob {
  readonly job: TraceJob
  /** When its turn came, before its checkpoint was loaded. */
  readonly turn: number
  readonly began: number
  readonly ended: number
}

export interface Replay {
  readonly jobs: readonly ReplayedJob[]
  readonly loads: number
  /** The end of the last job. */
  readonly length: number
}

/** No server waits unless its next job has not yet arrived. Of a job that ran more than once the first time counts. */
export function replay (shape: FleetShape, jobs: readonly TraceJob[], order: readonly Placed[]): Replay {
  const known = new Map(jobs.map(job => [job.id, job]))
  const states = new Map(shape.servers.map(({ alias, speed, checkpoints }) =>
    [alias, { speed, loaded: checkpoints[0] ?? '', free: 0 }]))
  const replayed = new Map<string, ReplayedJob>()
  let loads = 0
  for (const { jobId, server } of order) {
    const job = known.get(jobId)
    const state = states.get(server)
    if (job === undefined || state === undefined || replayed.has(jobId)) continue
    const isLoaded = state.loaded === job.checkpoint
    const turn = Math.max(state.free, job.arrives ?? 0)
    const began = turn + (isLoaded ? 0 : shape.load)
    loads += isLoaded ? 0 : 1
    state.loaded = job.checkpoint
    state.free = began + job.work / state.speed
    replayed.set(jobId, { job, turn, began, ended: state.free })
  }
  return {
    jobs: [...replayed.values()], loads, length: Math.max(0, ...[...replayed.values()].map(({ ended }) => ended))
  }
}

/** Each job in the order of arrival at the server where the fewest were waiting; all servers can run all of them. */
export function firstComeFirstServed ({ servers }: FleetShape, jobs: readonly TraceJob[]): Placed[] {
  return jobs.map(({ id }, index) => ({ jobId: id, server: servers[index % servers.length]?.alias ?? '' }))
}

/** All work, and one load for each checkpoint that no server has at the start, shared by all servers. */
export function boundOf ({ servers, load }: FleetShape, jobs: readonly TraceJob[]): number {
  const atStart = new Set(servers.map(({ checkpoints }) => checkpoints[0]))
  const toLoad = new Set(jobs.map(({ checkpoint }) => checkpoint).filter(name => !atStart.has(name)))
  const speed = servers.reduce((sum, server) => sum + server.speed, 0)
  return (workOf(jobs) + toLoad.size * load) / speed
}

export function workOf (jobs: readonly TraceJob[]): number {
  return jobs.reduce((sum, { work }) => sum + work, 0)
}

/** For each job, in the order of arrival, how many that arrived later began before it. */
export function overtakesOf (jobs: readonly TraceJob[], order: readonly Placed[]): number[] {
  const begins = new Map<string, number>()
  for (const [index, { jobId }] of order.entries()) if (!begins.has(jobId)) begins.set(jobId, index)
  const beginOf = ({ id }: TraceJob) => begins.get(id) ?? Infinity
  return jobs.map((job, index) =>
    jobs.slice(index + 1).filter(later => beginOf(later) < beginOf(job)).length)
}

/**
 * Jain's index of the rates at which shares were served, 1 where all are equal. A share's rate is its work by the time
 * it took, for as long as it had work and another share had too: a share that is alone takes nothing from others.
 */
export function fairness (jobs: readonly ReplayedJob[]): number {
  const shares = [...new Set(jobs.map(({ job }) => job.share))]
  const ends = shares.map(share => Math.max(...jobs.filter(({ job }) => job.share === share).map(({ ended }) => ended)))
  const alone = ends.toSorted((a, b) => b - a)[1] ?? 0
  const rates = shares.map((share, index) => {
    const until = Math.min(ends[index] ?? 0, alone)
    const served = jobs.filter(({ job }) => job.share === share)
      .reduce((sum, { began, ended }) => sum + Math.max(0, Math.min(ended, until) - began), 0)
    return served / until
  })
  const sum = rates.reduce((total, rate) => total + rate, 0)
  return sum ** 2 / (rates.length * rates.reduce((total, rate) => total + rate ** 2, 0))
}

/** A server's time from a turn, whose load counts as work, to the end. */
export interface Busy {
  readonly from: number
  readonly to: number
}

/** The share of the servers' time in which they did nothing although a job waited: until the last job began. */
export function idleShare (spans: readonly Busy[], servers: number): number {
  const begin = Math.min(...spans.map(({ from }) => from))
  const last = Math.max(...spans.map(({ from }) => from))
  const busy = spans.reduce((sum, { from, to }) => sum + Math.min(to, last) - from, 0)
  return 1 - busy / (servers * (last - begin))
}
