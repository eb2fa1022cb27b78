import { type CostModel, loadedAfter, predictSeconds, type Workload } from '../servers/cost-model.ts'
import type { Server } from '../servers/registry.ts'
import { laneMark } from './claim-rule.ts'
import { type ForecastJob, type Newcomers, noNewcomers, type PoolSnapshot } from './forecast.ts'
import type { ServerCondition } from './waiting-for.ts'
import { type JobProgress, type Needs, weightOf } from './job.ts'
import type { JobFacts, PoolReading } from './scripts/index.ts'
import { unpackWorkload } from './workload.ts'

/** A job that does not exist. */
export interface PreviewedJob {
  readonly share: string
  readonly background: boolean
  /** Within the share, '' if none is named. */
  readonly user: string
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
export function poolJob ([id, , workload, list, order, member, skips, user]: PoolReading[4][number]): ForecastJob {
  const [jobClass = '', ms = '1', weight = '1'] = member.split(':')
  return {
    id,
    share: list,
    list,
    user,
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

/** Its order comes with its arrival. */
export function previewedJob (job: PreviewedJob): ForecastJob {
  const { user, priority, needs, workload, workMs } = job
  const share = shareOfPreview(job)
  return {
    id: previewId,
    share,
    list: share,
    user,
    priority,
    weight: weightOf(priority),
    class: previewId,
    ...needs.target === '' ? {} : { target: needs.target },
    checkpoint: needs.checkpoint === null ? '' : workload.checkpoint,
    ms: workMs,
    order: 0,
    skips: 0,
    workload
  }
}

/** The share that it would be charged to. */
export function shareOfPreview ({ share, background }: Pick<PreviewedJob, 'share' | 'background'>): string {
  return background ? laneMark + share : share
}

/** The time whose arrivals are expected to repeat: so many times the waiting work, within these limits in seconds. */
const lookBack = { times: 2, least: 30, most: 3600 }
const slots = 12

/**
 * The jobs that are expected to arrive: those of the latest time once more, without its bursts. The two busiest of its
 * twelve parts count no more than the third, so that a batch is not expected again.
 *
 * @param arrivals newest first
 * @param workSeconds the waiting work, divided by the servers
 * @param timestamp milliseconds since the epoch
 */
export function expectNewcomers (arrivals: readonly string[], workSeconds: number, timestamp: number): Newcomers {
  if (workSeconds === 0) return noNewcomers
  const recent = arrivals.map(parseArrival)
  const reach = recent.length === 0 ? 0 : (timestamp - Math.min(...recent.map(({ at }) => at))) / 1000
  const usual = Math.min(lookBack.most, Math.max(lookBack.least, lookBack.times * workSeconds))
  // Older ones may have been forgotten.
  const span = recent.length < 100 ? usual : Math.min(usual, reach)
  const parts = Array.from({ length: slots }, (): ForecastJob[] => [])
  for (const { at, job } of recent) {
    const part = Math.floor((timestamp - at) / 1000 / span * slots)
    parts[Math.max(0, part)]?.push(job)
  }
  const [, , usualMost = 0] = parts.map(part => part.length).sort((one, other) => other - one)
  const jobs = parts.flatMap(part => part.filter((_, index) =>
    // As many as the limit, evenly taken.
    Math.floor((index + 1) * usualMost / part.length) > Math.floor(index * usualMost / part.length) ||
      part.length <= usualMost))
  if (jobs.length === 0) return noNewcomers
  return { jobs, count: jobs.length, interval: span / jobs.length }
}

function parseArrival (text: string): { readonly at: number, readonly job: ForecastJob } {
  const [at = '0', jobClass = '', ms = '1', weight = '1', share = '', workload = '', ...user] = text.split('|')
  const member = [jobClass, ms, weight].join(':')
  return { at: Number(at), job: poolJob(['', '', workload, share, '0', member, '0', user.join('|')]) }
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

/** The shares of a reading. */
export function sharesOf (list: PoolReading[3]): PoolSnapshot['shares'] {
  return Array.from({ length: Math.floor(list.length / 5) }, (_, at) => {
    const [name = '', weight, tag, now, servers = ''] = list.slice(at * 5, at * 5 + 5)
    const reached = new Map(servers.split(';').filter(part => part !== '').map(part => {
      const [id = '', order] = part.split(' ')
      return [id, Number(order)]
    }))
    return { name, weight: Number(weight), tag: Number(tag), now: Number(now), reached }
  })
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
