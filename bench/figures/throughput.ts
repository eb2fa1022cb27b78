import { createKeys } from '../../src/lib/keys.ts'
import { startBareQueue } from '../environment/bare-queue.ts'
import { requireCleanEnds } from '../environment/clean-ends.ts'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { until } from '../environment/until.ts'
import { generationPath, startUpstream } from '../environment/upstream.ts'
import { asRatio, asShare, inMicroseconds, median, perSecond } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'jobs per second with an instant server'

const rounds = 3
const perRound = 500
const goal = 0.2
/** Processor time of one job, in microseconds. */
const usedGoal = 4000
/** A small image. */
const size = { width: 64, height: 64 }

/** Waiting jobs, released at once, with a small image each; alternating with a bare worker that does nothing. */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
    const service = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const { caller } = service
    const bare = await startBareQueue(environment)
    const ended = createKeys('sq').key('jobs', '*', '*', 'completed')
    const ourUse: number[] = []
    const bareUse: number[] = []
    let total = 0

    async function rate (): Promise<number> {
      await caller.post('/api/v1/servers/Main/pause')
      for (let sent = 0; sent < perRound; sent += 100) {
        await caller.post('/api/v2/generate/bulk', { ...submission('Main', size), bulk_quantity: 100 })
      }
      await upstream.forget()
      const before = await service.used()
      await caller.post('/api/v1/servers/Main/resume')
      const seen = await upstream.answered(generationPath, perRound)
      total += perRound
      await until(async () => await environment.redis.zcard(ended) === total, 'every job is completed')
      ourUse.push((await service.used() - before) / perRound)
      await requireCleanEnds(caller, perRound)
      return (perRound - 1) / ((seen.at(-1)?.arrived ?? NaN) - (seen[0]?.arrived ?? NaN)) * 1000
    }

    const ourRates: number[] = []
    const bareRates: number[] = []
    for (let round = 0; round < rounds; round++) {
      const before = await bare.used()
      bareRates.push(await bare.work(perRound))
      bareUse.push((await bare.used() - before) / perRound)
      ourRates.push(await rate())
    }
    const [ours, limit] = [median(ourRates), median(bareRates)]
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
    }]
  })
}
