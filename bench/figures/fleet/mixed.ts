import { withFleet } from '../../environment/fleet.ts'
import { asRatio } from '../../statistics.ts'
import type { Row } from '../../table.ts'
import { boundOf, firstComeFirstServed, overtakesOf, replay } from './replay.ts'
import { checkpointNames, coldServers, mixedJobs, runAll, teach, times, traceOf } from './traces.ts'

export const about = 'length of 200 jobs with mixed checkpoints over several servers, and most overtakes of one job'

interface Mix {
  readonly name: string
  readonly servers: number
  readonly checkpoints: number
  /** 1: Zipf's law; 0: all alike. */
  readonly exponent: number
  /** At most so many times the bound. */
  readonly goal: number
}

const jobCount = 200
/** The default patience. */
const mostOvertakes = 48
const mixes: readonly Mix[] = [
  { name: '6 checkpoints by Zipf, 1 server', servers: 1, checkpoints: 6, exponent: 1, goal: 1.12 },
  { name: '6 checkpoints by Zipf, 3 servers', servers: 3, checkpoints: 6, exponent: 1, goal: 1.12 },
  { name: '12 equal checkpoints, 2 servers', servers: 2, checkpoints: 12, exponent: 0, goal: 1.2 }
]

/** All jobs wait before the first one begins; the length is that of the service's order with ideal costs. */
export async function measure (): Promise<Row[]> {
  const rows: Row[] = []
  for (const mix of mixes) rows.push(await measureMix(mix))
  return rows
}

async function measureMix ({ name, servers: count, checkpoints: kinds, exponent, goal }: Mix): Promise<Row> {
  const checkpoints = checkpointNames(kinds)
  const servers = coldServers(count, checkpoints)
  return await withFleet({ servers, times }, async fleet => {
    await teach(fleet)
    const jobs = traceOf(await runAll(fleet, mixedJobs(jobCount, checkpoints, 7, exponent)), times)
    const order = await fleet.ran()
    const shape = { servers, load: times.load }
    const bound = boundOf(shape, jobs)
    const ours = replay(shape, jobs, order)
    const fifo = replay(shape, jobs, firstComeFirstServed(shape, jobs))
    const overtakes = Math.max(...overtakesOf(jobs, order))
    return {
      figure: `fleet: ${name}`,
      measured: `${asRatio(ours.length, bound)} × bound, ${overtakes} overtakes, ${ours.loads} loads`,
      limit: `FIFO ${asRatio(fifo.length, bound)} ×, ${fifo.loads} loads`,
      ratio: asRatio(ours.length, fifo.length),
      goal: `≤ ${goal.toFixed(2)} ×, ≤ ${mostOvertakes} overtakes`,
      ok: ours.length <= goal * bound && overtakes <= mostOvertakes
    }
  })
}
