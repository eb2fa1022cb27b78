import { withFleet } from '../../environment/fleet.ts'
import type { FleetServer, FleetTimes } from '../../environment/fleet-process.ts'
import { asRatio, asShare } from '../../statistics.ts'
import type { Row } from '../../table.ts'
import { boundOf, firstComeFirstServed, idleShare, replay, workOf } from './replay.ts'
import { checkpointNames, equalServers, runAll, sameJobs, teach, traceOf } from './traces.ts'

export const about = 'how well eight equal and eight uneven servers are used'

/** Long enough that the pause between two jobs says little of the rule: 1.2 s at speed 1. */
const times: FleetTimes = { step: 1200 / 9, load: 250 }
const checkpoint = checkpointNames(1)

export async function measure (): Promise<Row[]> {
  return [await measureEqual(), await measureUneven()]
}

async function measureEqual (): Promise<Row> {
  const count = 8
  const goal = 7.8
  const { ours, fifo, work } = await run(equalServers(count, checkpoint), 96)
  const fold = work / ours.length
  return {
    figure: `fleet: ${count} equal servers`,
    measured: `${fold.toFixed(2)}-fold`,
    limit: `FIFO ${(work / fifo.length).toFixed(2)}-fold`,
    ratio: asRatio(ours.length, fifo.length),
    goal: `≥ ${goal}-fold`,
    ok: fold >= goal
  }
}

async function measureUneven (): Promise<Row> {
  const goal = 1.1
  const mostIdle = 0.04
  const servers = [1, 1, 2, 2, 3, 3, 4, 4].map((speed, index) => ({ alias: `S${index}`, speed, checkpoints: checkpoint }))
  const { ours, fifo, bound, idle, idleByClock } = await run(servers, 240)
  return {
    figure: 'fleet: 8 servers of speed 1 to 4',
    measured: `${asRatio(ours.length, bound)} × bound, ${asShare(idle, 1)} idle while work waits (by the clock ${asShare(idleByClock, 1)})`,
    limit: `FIFO ${asRatio(fifo.length, bound)} ×`,
    ratio: asRatio(ours.length, fifo.length),
    goal: `≤ ${goal.toFixed(2)} ×, ≤ ${asShare(mostIdle, 1)}`,
    ok: ours.length <= goal * bound && idle <= mostIdle
  }
}

async function run (servers: readonly FleetServer[], jobCount: number) {
  return await withFleet({ servers, times }, async fleet => {
    await teach(fleet)
    const jobs = traceOf(await runAll(fleet, sameJobs(jobCount, checkpoint[0] ?? '')), times)
    const ran = await fleet.ran()
    const shape = { servers, load: times.load }
    const ours = replay(shape, jobs, ran)
    return {
      ours,
      fifo: replay(shape, jobs, firstComeFirstServed(shape, jobs)),
      bound: boundOf(shape, jobs),
      work: workOf(jobs),
      idle: idleShare(ours.jobs.map(({ turn, ended }) => ({ from: turn, to: ended })), servers.length),
      idleByClock: idleShare(ran.map(({ began, ended }) => ({ from: began, to: ended ?? began })), servers.length)
    }
  })
}
