import { setTimeout as sleep } from 'node:timers/promises'
import { type AcceptedJob, type Fleet, type FleetJob, generationTime, withFleet } from '../../environment/fleet.ts'
import type { FleetGeneration } from '../../environment/fleet-process.ts'
import { asRatio, quantile } from '../../statistics.ts'
import type { Row } from '../../table.ts'
import { boundOf, fairness, firstComeFirstServed, replay } from './replay.ts'
import {
  checkpointNames, coldServers, equalServers, meanGeneration, mixedJobs, runAll, sameJobs, scale, teach, times, traceOf
} from './traces.ts'

export const about = 'how one server is shared by a key with many jobs and keys with few'

const hog = 'hog'
const light = Array.from({ length: 9 }, (_, index) => `light-${index}`)
const jobsOfHog = 100
const jobsOfLight = 3
const newcomers = 30
/** Milliseconds between two new keys: a minute. */
const newcomerInterval = 60_000 / scale

export async function measure (): Promise<Row[]> {
  return [await measureFairness(1, 0.95), await measureFairness(6, 0.9), await measureNewcomers()]
}

/** The hog's jobs arrive first, then those of the others in turn, and all wait before the first one begins. */
async function measureFairness (kinds: number, goal: number): Promise<Row> {
  const checkpoints = checkpointNames(kinds)
  const servers = kinds === 1 ? equalServers(1, checkpoints) : coldServers(1, checkpoints)
  const jobCount = jobsOfHog + light.length * jobsOfLight
  const mix = kinds === 1 ? sameJobs(jobCount, checkpoints[0] ?? '') : mixedJobs(jobCount, checkpoints, 11)
  const submitted = mix.map((job, index): FleetJob =>
    ({ ...job, share: index < jobsOfHog ? hog : light[(index - jobsOfHog) % light.length] ?? '' }))
  return await withFleet({ servers, times, shares: [hog, ...light] }, async fleet => {
    await teach(fleet)
    const jobs = traceOf(await runAll(fleet, submitted), times)
    const shape = { servers, load: times.load }
    const ours = replay(shape, jobs, await fleet.ran())
    const fifo = replay(shape, jobs, firstComeFirstServed(shape, jobs))
    const bound = boundOf(shape, jobs)
    const index = fairness(ours.jobs)
    return {
      figure: `fleet: ${jobsOfHog} jobs of a key beside ${light.length} keys with ${jobsOfLight}, ` +
        (kinds === 1 ? 'one checkpoint' : `${kinds} checkpoints`),
      measured: `Jain ${index.toFixed(3)}, ${asRatio(ours.length, bound)} × bound`,
      limit: `FIFO Jain ${fairness(fifo.jobs).toFixed(3)}, ${asRatio(fifo.length, bound)} ×`,
      ratio: asRatio(index, fairness(fifo.jobs)),
      goal: `Jain ≥ ${goal}`,
      ok: index >= goal
    }
  })
}

/** How long a job waited until its generation began, with ideal costs. */
interface Wait {
  /** Generations that began meanwhile. */
  readonly jobs: number
  /** Of those, and its own. */
  readonly loads: number
  /** Milliseconds, with the load that it needed itself. */
  readonly whole: number
  /** The same without the rest of what ran when it arrived. */
  readonly behindRunning: number
}

/** A key that nobody has seen submits one job every minute, while the hog's jobs wait. */
async function measureNewcomers (): Promise<Row> {
  const checkpoints = checkpointNames(6)
  const servers = coldServers(1, checkpoints)
  const names = Array.from({ length: newcomers }, (_, index) => `new-${index}`)
  return await withFleet({ servers, times, shares: [hog, ...names] }, async fleet => {
    await teach(fleet)
    await fleet.pause(['S0'])
    const before = await fleet.submit(mixedJobs(200, checkpoints, 13).map(job => ({ ...job, share: hog })))
    await fleet.resume(['S0'])
    const began = Date.now()
    const later = await submitInTime(fleet, mixedJobs(newcomers, checkpoints, 17).map((job, index) =>
      ({ ...job, share: names[index] ?? '' })))
    await fleet.finished()
    const waits = waitsOf([...before, ...later], later, await fleet.ran())
    const fifo = fifoWaits(before, later, began, servers)
    const p95 = (figureOf: (wait: Wait) => number) => quantile(waits.map(figureOf), 0.95)
    const [jobs, loads] = [p95(wait => wait.jobs), p95(wait => wait.loads)]
    const whole = p95(wait => wait.whole)
    const mean = 2 * meanGeneration + times.load
    return {
      figure: 'fleet: a new key with one job every minute beside a key with 200, 6 checkpoints',
      measured: `p95 wait ${jobs} jobs and ${loads} loads, ${inSeconds(p95(wait => wait.behindRunning))} behind what ran, ` +
        `${inSeconds(whole)} in all`,
      limit: `FIFO p95 ${inSeconds(quantile(fifo, 0.95))}`,
      ratio: asRatio(whole, quantile(fifo, 0.95)),
      goal: `≤ 2 jobs + 1 load behind what ran (of mean length ${inSeconds(mean)})`,
      ok: jobs <= 2 && loads <= 1
    }
  })
}

async function submitInTime (fleet: Fleet, jobs: readonly FleetJob[]): Promise<AcceptedJob[]> {
  const accepted: AcceptedJob[] = []
  const from = Date.now()
  for (const [index, job] of jobs.entries()) {
    await sleep(Math.max(0, from + (index + 1) * newcomerInterval - Date.now()))
    accepted.push(...await fleet.submit([job]))
  }
  return accepted
}

/** Of one server's generations in their order. */
function waitsOf (
  all: readonly AcceptedJob[], waiting: readonly AcceptedJob[], ran: readonly FleetGeneration[]
): Wait[] {
  const known = new Map(all.map(job => [job.id, job]))
  const loadOf = (index: number) => ran[index]?.checkpoint === ran[index - 1]?.checkpoint ? 0 : times.load
  const costOf = (index: number) => {
    const job = known.get(ran[index]?.jobId ?? '')
    return loadOf(index) + (job === undefined ? 0 : generationTime(job, times))
  }
  return waiting.map(({ id, acceptedAt }) => {
    const own = ran.findIndex(({ jobId }) => jobId === id)
    const next = ran.findIndex(({ began }) => began > acceptedAt)
    const running = ran[next - 1]
    const length = (running?.ended ?? acceptedAt) - (running?.began ?? acceptedAt)
    const rest = length <= 0 ? 0 : Math.max(0, (running?.ended ?? 0) - acceptedAt) / length * costOf(next - 1)
    const between = Array.from({ length: Math.max(0, own - next) }, (_, index) => next + index)
    const behindRunning = between.reduce((sum, index) => sum + costOf(index), 0) + loadOf(own)
    const loads = [...between, own].filter(index => loadOf(index) > 0).length
    return { jobs: between.length, loads, whole: rest + behindRunning, behindRunning }
  })
}

/** Milliseconds from arrival to the begin of the generation where each job waits for all before it. */
function fifoWaits (
  before: readonly AcceptedJob[], later: readonly AcceptedJob[], began: number, servers: Parameters<typeof replay>[0]['servers']
): number[] {
  const arrivals = new Map(later.map(({ id, acceptedAt }) => [id, acceptedAt - began]))
  const jobs = traceOf([...before, ...later], times).map(job => ({ ...job, arrives: arrivals.get(job.id) ?? 0 }))
  const shape = { servers, load: times.load }
  return replay(shape, jobs, firstComeFirstServed(shape, jobs)).jobs
    .flatMap(({ job, began: begin }) => arrivals.has(job.id) ? [begin - (arrivals.get(job.id) ?? 0)] : [])
}

/** Seconds of a real server. */
function inSeconds (milliseconds: number): string {
  return `${Math.round(milliseconds * scale / 1000)} s`
}
