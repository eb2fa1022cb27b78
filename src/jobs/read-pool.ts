import { type CostModel, loadedAfter, predictSeconds, type Workload } from '../servers/cost-model.ts'
import type { Server } from '../servers/registry.ts'
import type { ForecastJob, ServerCondition } from './forecast.ts'
import { type JobProgress, type Needs, weightOf } from './job.ts'
import type { JobFacts, PoolReading } from './scripts/index.ts'
import { unpackWorkload } from './workload.ts'

/** A job that does not exist. */
export interface PreviewedJob {
  readonly share: string
  readonly priority: number
  readonly needs: Needs
  readonly workload: Workload
  readonly workMs: number
}

/** Stands for a job that does not exist. */
export const previewId = 'preview'
/** The share of a generation after which its own progress is meaningful. */
const meaningfulFraction = 0.1

/** Whether a server takes jobs now, and why not. */
export function conditionOf (server: Server, reachable: string): ServerCondition {
  if (!server.enabled) return 'off'
  if (server.draining) return 'draining'
  if (server.paused) return 'paused'
  return reachable === 'yes' ? 'open' : 'down'
}

/** A job of the pool from a reading. */
export function poolJob ([id, , workload, list, order, member, skips]: PoolReading[3][number]): ForecastJob {
  const [jobClass = '', ms = '1', weight = '1'] = member.split(':')
  return {
    id,
    share: list,
    list,
    user: '',
    priority: 5,
    weight: Number(weight),
    class: jobClass,
    checkpoint: jobClass.slice(0, jobClass.indexOf('-')),
    ms: Number(ms),
    order: Number(order),
    skips: Number(skips),
    workload: unpackWorkload(workload)
  }
}

/** Behind the waiting jobs of its share. */
export function previewedJob (
  { share, priority, needs, workload, workMs }: PreviewedJob, all: readonly ForecastJob[]
): ForecastJob {
  const weight = weightOf(priority)
  const last = Math.max(0, ...all.filter(job => job.list === share).map(({ order }) => order))
  return {
    id: previewId,
    share,
    list: share,
    user: '',
    priority,
    weight,
    class: previewId,
    checkpoint: needs.checkpoint === null ? '' : workload.checkpoint,
    ms: workMs,
    order: last + workMs / 1000 / weight,
    skips: 0,
    workload
  }
}

/** A claimed job from a reading: it runs next at its server. */
export function claimedJob ([id, key, cost]: JobFacts): ForecastJob {
  const workload = unpackWorkload(cost)
  return {
    id,
    share: key,
    list: key,
    user: '',
    priority: 5,
    weight: 1,
    class: '',
    checkpoint: workload?.checkpoint ?? '',
    ms: 1,
    order: 0,
    skips: 0,
    workload
  }
}

/** Redis' flat list of names and values. */
export function pairsOf (list: readonly string[]): Array<[string, string]> {
  return Array.from({ length: Math.floor(list.length / 2) }, (_, at) => [list[at * 2] ?? '', list[at * 2 + 1] ?? ''])
}

/** A flat list of three values each. */
export function triplesOf (list: readonly string[]): Array<[string, string, string]> {
  return Array.from({ length: Math.floor(list.length / 3) }, (_, at) =>
    [list[at * 3] ?? '', list[at * 3 + 1] ?? '', list[at * 3 + 2] ?? ''])
}

/** The checkpoint that is loaded after some work. */
export function after (loaded: string, workload: Workload | null): string {
  return workload === null ? loaded : loadedAfter(loaded, workload)
}

/**
 * The time that a running generation still takes: first by its estimate, and the further it is, the more by its
 * progress.
 */
export function secondsLeft (model: CostModel, [, , cost, started, progress]: JobFacts, timestamp: number): number {
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
