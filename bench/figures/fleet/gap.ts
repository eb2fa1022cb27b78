import { entriesLua } from '../../../queues/generation-queue.ts'
import { loadQueueScripts } from '../../../src/jobs/scripts/index.ts'
import { withFleet } from '../../environment/fleet.ts'
import { inMilliseconds, median } from '../../statistics.ts'
import type { Row } from '../../table.ts'
import { checkpointNames, equalServers, sameJobs, teach } from './traces.ts'

export const about = 'what the claim of a job adds to the time between two jobs of one server'

const count = 60
const times = { step: 30, load: 0 }
const checkpoints = checkpointNames(1)
/** Milliseconds that a claim may add. */
const most = 0.3

/**
 * All jobs name the server. A claim that Redis runs after one generation has ended and before the next begins counts
 * with all the time from then to that begin.
 */
export async function measure (): Promise<Row[]> {
  const { sha } = loadQueueScripts(entriesLua).claimJob
  const servers = equalServers(1, checkpoints)
  return await withFleet({ servers, times }, async fleet => {
    const { environment: { redis } } = fleet
    await teach(fleet)
    const aliases = servers.map(({ alias }) => alias)
    await fleet.pause(aliases)
    await fleet.submit(sameJobs(count, checkpoints[0] ?? '').map(job => ({ ...job, server: aliases[0] ?? '' })))
    const claims: number[] = []
    const watching = redis.duplicate()
    const monitor = await watching.monitor()
    monitor.on('monitor', (seconds: string, [command, script]: string[]) => {
      if (command?.toLowerCase() === 'evalsha' && script === sha) claims.push(Number(seconds) * 1000)
    })
    await fleet.resume(aliases)
    await fleet.finished()
    monitor.disconnect()
    watching.disconnect()
    const ran = await fleet.ran()
    const gaps = ran.slice(1).map(({ began }, index) => ({ from: ran[index]?.ended ?? began, to: began }))
    const added = gaps.map(({ from, to }) => {
      const first = claims.find(at => at > from && at < to)
      return first === undefined ? 0 : to - first
    })
    const mean = added.reduce((sum, one) => sum + one, 0) / gaps.length
    return [{
      figure: 'fleet: what a claim adds to the gap between jobs for one server',
      measured: `${inMilliseconds(mean)}, ${added.filter(one => one > 0).length} of ${claims.length} claims in a gap`,
      limit: `gap ${inMilliseconds(median(gaps.map(({ from, to }) => to - from)))}`,
      ratio: '',
      goal: `≤ ${most} ms`,
      ok: mean <= most
    }]
  })
}
