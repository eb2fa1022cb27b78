import {
  arrive, choose, claim, createPool, type Patience, type Pool, usualPatience, type WaitingJob
} from '../../src/jobs/claim-rule.ts'
import { weightOf } from '../../src/jobs/job.ts'

/** A job of a simulated fleet: seconds from the begin to its arrival, and what a generation takes. */
export interface PlannedJob {
  readonly at: number
  readonly share?: string
  readonly user?: string
  readonly priority?: number
  readonly checkpoint?: string
  readonly class?: string
  readonly seconds: number
}

export interface PlannedServer {
  readonly speed?: number
  readonly canRun?: (job: WaitingJob) => boolean
}

export interface Run {
  /** Its index in the plan. */
  readonly index: number
  readonly job: WaitingJob
  readonly at: number
  readonly start: number
  readonly end: number
  readonly server: number
}

export interface Fleet {
  /** In the order in which the jobs began. */
  readonly runs: readonly Run[]
  readonly loads: number
  /** The most often that one job was passed over. */
  readonly skips: number
  /** When all is done, relative to the best possible: all generations and one load of each checkpoint. */
  readonly ratio: number
}

export function newJob (index: number, facts: Partial<WaitingJob> = {}): WaitingJob {
  const share = facts.share ?? ''
  return {
    id: String(index).padStart(6, '0'),
    share,
    list: share,
    user: '',
    priority: 5,
    weight: weightOf(facts.priority ?? 5),
    class: 'any',
    checkpoint: '',
    ms: 12_000,
    order: 0,
    skips: 0,
    ...facts
  }
}

export interface FleetOptions {
  readonly loadSeconds?: number
  readonly settings?: Partial<Patience>
  readonly weights?: Readonly<Record<string, number>>
}

/** Runs a plan over servers that follow the rule, with constant times. */
export function runFleet (
  plan: readonly PlannedJob[], servers: readonly PlannedServer[],
  { loadSeconds = 15, settings = {}, weights = {} }: FleetOptions = {}
): Fleet {
  const pool: Pool = createPool()
  for (const [name, weight] of Object.entries(weights)) {
    pool.shares.set(name, { name, weight, tag: 0, jobs: [], now: 0, flows: new Map(), reached: new Map() })
  }
  const arrivals = plan.map((planned, index) => ({ planned, index }))
    .sort((one, other) => one.planned.at - other.planned.at || one.index - other.index)
  const indexOf = new Map<WaitingJob, number>()
  const fleet = servers.map((server, index) => ({ speed: 1, ...server, index, free: 0, loaded: `none ${index}` }))
  const runs: Run[] = []
  let [arrived, clock, loads, skips] = [0, 0, 0, 0]
  for (;;) {
    for (; (arrivals[arrived]?.planned.at ?? Infinity) <= clock; arrived++) {
      const { planned, index } = arrivals[arrived] as { planned: PlannedJob, index: number }
      const { seconds, at: _at, ...facts } = planned
      const needs = planned.class ?? planned.checkpoint ?? 'any'
      const job = newJob(index, { ...facts, class: needs, ms: seconds * 1000 })
      indexOf.set(job, index)
      arrive(pool, job)
    }
    for (const server of fleet) {
      if (server.free > clock) continue
      const held = new Map<string, number>()
      for (const other of fleet) {
        if (other !== server) held.set(other.loaded, (held.get(other.loaded) ?? 0) + 1)
      }
      const { canRun = () => true, loaded, speed } = server
      const choice = choose(pool,
        { id: String(server.index), canRun, loaded, own: '', loadSeconds: loadSeconds / speed, held }, { ...usualPatience, ...settings })
      if (choice === null) continue
      claim(pool, choice)
      skips = Math.max(skips, ...choice.passed.map(job => job.skips))
      const checkpoint = choice.job.checkpoint === '' ? loaded : choice.job.checkpoint
      const changes = checkpoint !== loaded
      if (changes) loads++
      server.loaded = checkpoint
      server.free = clock + ((changes ? loadSeconds : 0) + choice.job.ms / 1000) / speed
      const index = indexOf.get(choice.job) ?? -1
      const at = plan[index]?.at ?? 0
      runs.push({ index, job: choice.job, at, start: clock, end: server.free, server: server.index })
    }
    const next = Math.min(arrivals[arrived]?.planned.at ?? Infinity,
      ...fleet.map(server => server.free).filter(free => free > clock))
    if (next === Infinity) break
    clock = next
  }
  const checkpoints = new Set(plan.map(({ checkpoint }) => checkpoint ?? '')).size
  const work = plan.reduce((sum, { seconds }) => sum + seconds, 0) + checkpoints * loadSeconds
  const speed = fleet.reduce((sum, server) => sum + server.speed, 0)
  return { runs, loads, skips, ratio: Math.max(...runs.map(({ end }) => end)) / (work / speed) }
}

/** Checkpoints of which the n-th is asked for 1/n as often as the first. */
export function zipf (count: number, random: () => number): string {
  const weights = Array.from({ length: count }, (_, index) => 1 / (index + 1))
  let rest = random() * weights.reduce((sum, weight) => sum + weight, 0)
  return String(weights.findIndex(weight => (rest -= weight) < 0))
}

export function quantile (values: readonly number[], part: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? NaN
}
