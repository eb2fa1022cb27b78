import type { AcceptedJob, Fleet, FleetJob } from '../../environment/fleet.ts'
import { generationTime } from '../../environment/fleet.ts'
import type { FleetServer, FleetTimes } from '../../environment/fleet-process.ts'
import { createRandom } from '../../../src/simulator/random.ts'
import type { TraceJob } from './replay.ts'

/** The real size is a generation of 12 s and a load of 15 s; here a second takes a sixtieth. */
export const scale = 60
const meanSteps = 8
const steps = { least: 6, most: 10 }
export const times: FleetTimes = { step: 12_000 / scale / (meanSteps + 1), load: 15_000 / scale }
/** Milliseconds of a usual generation at speed 1. */
export const meanGeneration = generationTime({ steps: meanSteps }, times)

/** Loaded at the start and named by no job, so that each checkpoint of a trace has to be loaded. */
const unused = 'unused.safetensors'

export const checkpointNames = (count: number) =>
  Array.from({ length: count }, (_, index) => `checkpoint-${index}.safetensors`)

export function equalServers (count: number, checkpoints: readonly string[]): FleetServer[] {
  return Array.from({ length: count }, (_, index) => ({ alias: `S${index}`, speed: 1, checkpoints }))
}

/** Servers that have none of a trace's checkpoints loaded. */
export const coldServers = (count: number, checkpoints: readonly string[]) =>
  equalServers(count, [unused, ...checkpoints])

/** Jobs of 9 to 15 s, with random checkpoints; the second is half as frequent as the first, the third a third. */
export function mixedJobs (count: number, checkpoints: readonly string[], seed: number, exponent = 1): FleetJob[] {
  const random = createRandom(seed)
  const weights = checkpoints.map((_, rank) => 1 / (rank + 1) ** exponent)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return Array.from({ length: count }, () => {
    let point = random() * total
    const chosen = checkpoints.find((_, rank) => (point -= weights[rank] ?? 0) < 0) ?? checkpoints[0]
    return {
      steps: steps.least + Math.floor(random() * (steps.most - steps.least + 1)),
      checkpoint: chosen ?? ''
    }
  })
}

export function sameJobs (count: number, checkpoint: string): FleetJob[] {
  return Array.from({ length: count }, () => ({ steps: meanSteps, checkpoint }))
}

/**
 * Lets each server run a few jobs with each checkpoint that jobs name, so that the service knows its times as it does
 * in use, and ends with the one that it had loaded.
 */
export async function teach (fleet: Fleet): Promise<void> {
  const { servers } = fleet
  for (const { alias, checkpoints } of servers) {
    const [loaded = '', ...others] = checkpoints
    const each = others.length === 0 ? 10 : Math.max(1, Math.ceil(12 / others.length))
    const jobs = [...others, loaded].flatMap(checkpoint => Array.from({ length: each }, (_, index): FleetJob =>
      ({ steps: index % 2 === 0 ? steps.least : steps.most, checkpoint, server: alias })))
    await fleet.submit(jobs)
  }
  await fleet.finished()
  await fleet.forget()
}

/** Submits jobs while all servers are paused and lets them begin at once; resolves when all have ended. */
export async function runAll (fleet: Fleet, jobs: readonly FleetJob[]): Promise<AcceptedJob[]> {
  const aliases = fleet.servers.map(({ alias }) => alias)
  await fleet.pause(aliases)
  const accepted = await fleet.submit(jobs)
  await fleet.resume(aliases)
  await fleet.finished()
  return accepted
}

export function traceOf (jobs: readonly AcceptedJob[], times: FleetTimes): TraceJob[] {
  return jobs.map(job => ({
    id: job.id, checkpoint: job.checkpoint, work: generationTime(job, times), share: job.share ?? ''
  }))
}
