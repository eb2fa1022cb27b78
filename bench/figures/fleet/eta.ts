import { setTimeout as sleep } from 'node:timers/promises'
import type { JobView } from '../../../schemas/job.ts'
import { type Fleet, type FleetJob, withFleet } from '../../environment/fleet.ts'
import type { FleetTimes } from '../../environment/fleet-process.ts'
import { median, quantile } from '../../statistics.ts'
import type { Row } from '../../table.ts'
import { checkpointNames, coldServers, mixedJobs, teach } from './traces.ts'

export const about = 'error of the times said to waiting jobs of a fleet, with and without newcomers'

/** Jobs of half a second: the API says times to the tenth of a second. */
const times: FleetTimes = { step: 500 / 9, load: 600 }
const checkpoints = checkpointNames(3)
const servers = coldServers(2, checkpoints)
/** Milliseconds between two looks at all waiting jobs. */
const interval = 1500
const rounds = 2
/** Milliseconds between two newcomers, who take a little more than half of both servers, and how many come before. */
const newcomerInterval = 450
const earlierNewcomers = 60

/** What was said of a job at one look, and what became of it; all in seconds from then. */
interface Said {
  readonly median: number
  /** Null where the API says none. */
  readonly p90: number | null
  readonly took: number
}

export async function measure (): Promise<Row[]> {
  return await withFleet({ servers, times }, async fleet => {
    await teach(fleet)
    const alone: Said[] = []
    const overtaken: Said[] = []
    const surprised: Said[] = []
    for (let round = 0; round < rounds; round++) {
      alone.push(...await withoutNewcomers(fleet, mixedJobs(50, checkpoints, 19 + round)))
    }
    // The service expects more newcomers for a while after some came.
    for (let round = 0; round < rounds; round++) overtaken.push(...await withNewcomers(fleet, 29 + round))
    for (let round = 0; round < rounds; round++) surprised.push(...await beforeBatch(fleet, 23 + round))
    return [
      row('without newcomers', alone, 0.1),
      row('50 newcomers of priority 10 one after another', overtaken, 0.3),
      row('said before a batch of 50 of priority 10', surprised, null)
    ]
  })
}

async function withoutNewcomers (fleet: Fleet, jobs: readonly FleetJob[]): Promise<Said[]> {
  await submitHeld(fleet, jobs)
  const looks = [await look(fleet)]
  while (await fleet.unfinished() > 0) {
    await sleep(interval)
    looks.push(await look(fleet))
  }
  return await outcomes(fleet, looks)
}

/** 20 jobs arrive while others of higher weight arrive all the time, 50 of them afterwards. */
async function withNewcomers (fleet: Fleet, seed: number): Promise<Said[]> {
  const newcomers = mixedJobs(earlierNewcomers + 50, checkpoints, seed + 100).map(job => ({ ...job, priority: 10 }))
  await arriveInTime(fleet, newcomers.splice(0, earlierNewcomers))
  const ids = new Set((await fleet.submit(mixedJobs(20, checkpoints, seed))).map(({ id }) => id))
  const arriving = arriveInTime(fleet, newcomers)
  const looks: Look[] = []
  while (await fleet.unfinished() > 0) {
    const { at, jobs } = await look(fleet)
    looks.push({ at, jobs: jobs.filter(({ id }) => ids.has(id)) })
    await sleep(interval)
  }
  await arriving
  return await outcomes(fleet, looks)
}

async function arriveInTime (fleet: Fleet, jobs: readonly FleetJob[]): Promise<void> {
  const from = Date.now()
  for (const [index, job] of jobs.entries()) {
    await sleep(Math.max(0, from + (index + 1) * newcomerInterval - Date.now()))
    await fleet.submit([job])
  }
}

/** Nobody can know of the batch: what is said of the others then is as wrong as their weights allow. */
async function beforeBatch (fleet: Fleet, seed: number): Promise<Said[]> {
  await submitHeld(fleet, mixedJobs(20, checkpoints, seed))
  const before = await look(fleet)
  await fleet.submit(mixedJobs(50, checkpoints, seed + 100).map(job => ({ ...job, priority: 10 })))
  await fleet.finished()
  return await outcomes(fleet, [before])
}

/** Resolves once the jobs have begun. */
async function submitHeld (fleet: Fleet, jobs: readonly FleetJob[]): Promise<void> {
  const aliases = servers.map(({ alias }) => alias)
  await fleet.pause(aliases)
  await fleet.submit(jobs)
  await fleet.resume(aliases)
  await sleep(interval / 3)
}

type Looked = Pick<JobView, 'id' | 'eta_seconds'> & { readonly eta_seconds_p90?: number | null }

interface Look {
  /** Milliseconds since the epoch. */
  readonly at: number
  readonly jobs: readonly Looked[]
}

async function look ({ caller }: Fleet): Promise<Look> {
  const asked = Date.now()
  const { jobs } = await caller.get('/api/v2/jobs?status=pending&limit=1000') as { jobs: Looked[] }
  return { at: (asked + Date.now()) / 2, jobs }
}

async function outcomes ({ caller }: Fleet, looks: readonly Look[]): Promise<Said[]> {
  const ends = new Map<string, number>()
  for (const id of new Set(looks.flatMap(({ jobs }) => jobs.map(job => job.id)))) {
    const { job } = await caller.get(`/api/v2/jobs/${id}`) as { job: JobView }
    ends.set(id, Date.parse(job.completion_timestamp ?? ''))
  }
  return looks.flatMap(({ at, jobs }) => jobs.flatMap(({ id, eta_seconds: said, eta_seconds_p90: p90 = null }) =>
    said === null ? [] : [{ median: said, p90, took: ((ends.get(id) ?? NaN) - at) / 1000 }]))
}

/** @param goal a share; null where nothing can be known */
function row (name: string, said: readonly Said[], goal: number | null): Row {
  const error = median(said.map(one => Math.abs(one.median - one.took) / one.took))
  const errors90 = quantile(said.map(one => Math.abs(one.median - one.took) / one.took), 0.9)
  const withP90 = said.filter(({ p90 }) => p90 !== null)
  const covered = withP90.filter(({ p90, took }) => took <= (p90 ?? 0)).length / withP90.length
  const share = (value: number) => `${(value * 100).toFixed(1)} %`
  const coverage = withP90.length === 0 ? 'no eta_seconds_p90' : `p90 covers ${share(covered)}`
  return {
    figure: `fleet: eta_seconds, ${name}`,
    measured: `median error ${share(error)}, 9 of 10 below ${share(errors90)}, ${coverage}, ${said.length} said`,
    limit: '',
    ratio: '',
    goal: goal === null ? '' : `≤ ${share(goal)}, p90 covers 85 to 95 %`,
    ok: goal === null ? null : error <= goal && covered >= 0.85 && covered <= 0.95
  }
}
