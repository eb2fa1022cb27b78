import { setTimeout as sleep } from 'node:timers/promises'
import { requireCleanEnds } from '../environment/clean-ends.ts'
import { withEnvironment, type Environment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { measureSyncs } from '../environment/syncs.ts'
import { generationPath, startUpstream } from '../environment/upstream.ts'
import { startBareQueue } from '../environment/bare-queue.ts'
import { asRatio, inMilliseconds, median, now, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'submission on an idle system to the request reaching the server'

const times = 200
/** Between two submissions, so that the one before is stored and over, in milliseconds. */
const rest = 30
/** Times the limit. */
const goal = 2.5
/**
 * Writes to the disk that the request waits for: Redis answers, and publishes that the server got the job, when the
 * created job is on its disk. What follows is noted beside the request.
 */
const syncsOfPath = 1

/**
 * From before the submission is sent until the server has the request. The limit is the time that bare BullMQ takes to
 * hand over, and what the disk takes for the writes in the path (issue 17).
 */
export async function measure (): Promise<Row[]> {
  return await withEnvironment(async environment => {
    const ours = await measureOurs(environment)
    const bare = await (await startBareQueue(environment)).handOver(times, rest)
    const sync = median(await measureSyncs(environment, { times, syncs: syncsOfPath }))
    const limit = median(bare) + sync
    return [{
      figure: about,
      measured: spread(ours),
      limit: `bare add → process ${spread(bare)}, and fsync ${inMilliseconds(sync)}`,
      ratio: asRatio(median(ours), limit),
      goal: `≤ ${goal} ×`,
      ok: median(ours) <= goal * limit
    }]
  })
}

async function measureOurs (environment: Environment): Promise<number[]> {
  const upstream = await startUpstream(environment, { kind: 'instant', options: { milliseconds: 0 } })
  const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
  await upstream.forget()
  const sent: number[] = []
  for (let index = 0; index < times; index++) {
    sent.push(now())
    await caller.post('/api/v2/generate', submission('Main', { width: 64, height: 64 }))
    await upstream.answered(generationPath, index + 1)
    await sleep(rest)
  }
  const seen = await upstream.seen(generationPath)
  await requireCleanEnds(caller, times)
  return sent.map((timestamp, index) => (seen[index]?.arrived ?? NaN) - timestamp)
}
