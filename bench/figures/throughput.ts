import { startBareQueue } from '../environment/bare-queue.ts'
import { withEnvironment } from '../environment/environment.ts'
import { releaseJobs } from '../environment/release.ts'
import { startService } from '../environment/service.ts'
import { countSystemCalls } from '../environment/system-calls.ts'
import { startUpstream } from '../environment/upstream.ts'
import { asRatio, asShare, inMicroseconds, median, perSecond } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'jobs per second with an instant server'

const rounds = 3
/** Rounds of both sides that do not count. */
const firstRounds = 2
const perRound = 500
const goal = 0.2
/** Processor time of one job, in microseconds. */
const usedGoal = 4000
/** Jobs while strace counts, which makes them slow. */
const traced = 200
/** System calls of one job. */
const callsGoal = 100

/**
 * Waiting jobs, released at once, with a small image each; alternating with a bare worker that does nothing. The first
 * rounds of both do not count: a process compiles its code during its first thousand jobs, and a service runs for days.
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const bare = await startBareQueue(environment)
    const ourUse: number[] = []
    const bareUse: number[] = []
    const ourRates: number[] = []
    const bareRates: number[] = []
    for (let round = 0; round < firstRounds; round++) {
      await bare.work(perRound)
      await releaseJobs(environment, service, upstream, perRound)
    }
    for (let round = 0; round < rounds; round++) {
      const before = await bare.used()
      bareRates.push(await bare.work(perRound))
      bareUse.push((await bare.used() - before) / perRound)
      const { rate, used } = await releaseJobs(environment, service, upstream, perRound)
      ourRates.push(rate)
      ourUse.push(used)
    }
    const [ours, limit] = [median(ourRates), median(bareRates)]
    const bareCalls = await countSystemCalls(environment, bare, () => bare.work(traced))
    const calls = await countSystemCalls(environment, service,
      () => releaseJobs(environment, service, upstream, traced))
    return [{
      figure: about,
      measured: perSecond(ours),
      limit: `bare worker ${perSecond(limit)}`,
      ratio: asShare(ours, limit),
      goal: `≥ ${goal * 100} %`,
      ok: ours >= goal * limit
    }, {
      figure: 'processor time of a job with an instant server',
      measured: inMicroseconds(median(ourUse)),
      limit: `bare add and worker ${inMicroseconds(median(bareUse))}`,
      ratio: asRatio(median(ourUse), median(bareUse)),
      goal: `≤ ${usedGoal} µs`,
      ok: median(ourUse) <= usedGoal
    }, ...calls === null || bareCalls === null ? [] : [callsRow(calls / traced, bareCalls / traced)]]
  })
}

function callsRow (ours: number, bare: number): Row {
  return {
    figure: 'system calls of a job with an instant server',
    measured: ours.toFixed(1),
    limit: `bare add and worker ${bare.toFixed(1)}`,
    ratio: asRatio(ours, bare),
    goal: `≤ ${callsGoal}`,
    ok: ours <= callsGoal
  }
}
