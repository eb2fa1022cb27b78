import { measureBareGaps } from '../environment/bare-client.ts'
import { createCaller } from '../environment/caller.ts'
import { requireCleanEnds } from '../environment/clean-ends.ts'
import { withEnvironment } from '../environment/environment.ts'
import { submission } from '../environment/ordinary.ts'
import { startService } from '../environment/service.ts'
import { measureSyncs } from '../environment/syncs.ts'
import { gapsOf, generationPath, startUpstream } from '../environment/upstream.ts'
import { asRatio, inMilliseconds, median, now, quantile, spread } from '../statistics.ts'
import type { Row } from '../table.ts'

export const about = 'idle time of a server between two waiting jobs'

/** So many that the p99 is not one of the worst few. */
const jobs = 500
/** Long enough for the next job to be ready, as any real generation is. */
const generationMilliseconds = 20
const medianGoal = 2
const sizes = [64, 512]

/**
 * From the moment at which a server handed over the last byte of an answer, a picture of noise, until the next
 * request is there. At best this is one round trip to it; taking the picture comes on top, as the server stands idle
 * meanwhile. A bare client, which only takes the same pictures, shows what both come to on this machine.
 */
export async function measure (): Promise<Row[]> {
  const rows: Row[] = []
  for (const size of sizes) rows.push(await measureWithImage(size))
  return rows
}

async function measureWithImage (size: number): Promise<Row> {
  return await withEnvironment(async environment => {
    const upstream = await startUpstream(environment, {
      kind: 'instant', options: { milliseconds: generationMilliseconds }
    })
    const { caller } = await startService(environment, { command: 'start', servers: { Main: upstream.url } })
    const roundTrips = await measureRoundTrips(upstream.url)
    const bare = await measureBareGaps(environment, upstream, { times: jobs, size })
    const p99Goal = quantile(await measureSyncs(environment, { times: jobs, syncs: 2 }), 0.99)
    await caller.post('/api/v1/servers/Main/pause')
    for (let sent = 0; sent < jobs; sent += 100) {
      await caller.post('/api/v2/generate/bulk', { ...submission('Main', { width: size, height: size }), bulk_quantity: 100 })
    }
    await upstream.forget()
    await caller.post('/api/v1/servers/Main/resume')
    const seen = await upstream.answered(generationPath, jobs)
    await requireCleanEnds(caller, jobs)
    const gaps = gapsOf(seen)
    return {
      figure: `${about}, ${size} x ${size}`,
      measured: spread(gaps),
      limit: `round trip ${inMilliseconds(median(roundTrips))}; bare client ${spread(bare)}`,
      ratio: asRatio(median(gaps), median(roundTrips)),
      goal: `≤ ${medianGoal} ms, p99 ≤ ${inMilliseconds(p99Goal)} (two fsyncs)`,
      ok: median(gaps) <= medianGoal && quantile(gaps, 0.99) <= p99Goal
    }
  })
}

async function measureRoundTrips (url: string): Promise<number[]> {
  const caller = createCaller(url)
  const times: number[] = []
  try {
    for (let index = 0; index < jobs; index++) {
      const began = now()
      await caller.get('/simulator/about')
      times.push(now() - began)
    }
  } finally {
    await caller.close()
  }
  return times
}
